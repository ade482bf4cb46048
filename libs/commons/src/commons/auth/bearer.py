"""The `Authorization` header."""

from commons.errors import UnauthenticatedError


def bearer_token(authorization: str | None) -> str:
    """The token of an `Authorization: Bearer …` header; the scheme's case does not matter.

    Raises:
        UnauthenticatedError: no such header, another scheme, or no token in it.
    """
    scheme, _, token = (authorization or "").strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError("Send a token: Authorization: Bearer <JWT>.")
    return token
