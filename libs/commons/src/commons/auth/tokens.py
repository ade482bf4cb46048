"""Tokens, and who they say is calling (CONTRACT, section 4).

Imports `cryptography`: for the functions that check tokens, and for nobody else.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

import jwt
from pydantic import TypeAdapter, ValidationError

from commons.auth.signing_keys import ALGORITHM, SigningKeys
from commons.errors import UnauthenticatedError
from commons.schemas.caller import Caller
from commons.schemas.types import UserId
from commons.settings import TokenSettings

if TYPE_CHECKING:
    from jwt.types import Options

LEEWAY_SECONDS: Final = 30
MAX_TOKEN_LENGTH: Final = 8_192
"""API Gateway passes 10,240 bytes of headers in all."""

MAX_NAME: Final = 120
NAME_CLAIMS: Final = ("name", "preferred_username", "username")

_USER_ID: TypeAdapter[str] = TypeAdapter(UserId)

_CHECKS: "Options" = {
    "require": ["exp", "iss"],
    # Several claims may name the audience: `_is_for_us` looks.
    "verify_aud": False,
    # PyJWT checks more than the contract names: an issuer whose clock runs ahead, or whose `sub`
    # is a number while another claim names the user, is to be believed all the same.
    "verify_iat": False,
    "verify_sub": False,
    "verify_jti": False,
}


class TokenVerifier:
    """Believes RS256 tokens of the configured issuer for the configured audience."""

    def __init__(self, settings: TokenSettings, *, signing_keys: SigningKeys | None = None) -> None:
        self._settings = settings
        self._signing_keys = signing_keys or SigningKeys(settings.jwt_jwks_url)

    def verify(self, token: str) -> Caller:
        """Who the token was issued to.

        Raises:
            UnauthenticatedError: for whatever is wrong with it; the detail does not say what.
            IssuerUnreachableError: nobody can say at the moment whether it is valid.
        """
        try:
            claims = self._verified_claims(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise UnauthenticatedError("The token is not valid here.") from None
        try:
            user_id = _USER_ID.validate_python(claims.get(self._settings.jwt_user_claim))
        except ValidationError:
            raise UnauthenticatedError("The token names no user.") from None
        expires_at = int(cast("float", claims["exp"]))
        return Caller(user_id=user_id, name=_display_name(claims), expires_at=expires_at)

    def _verified_claims(self, token: str) -> Mapping[str, object]:
        if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
            raise jwt.DecodeError
        key_id = jwt.get_unverified_header(token).get("kid")
        key = self._signing_keys.find(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise jwt.InvalidKeyError
        claims: Mapping[str, object] = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=self._settings.jwt_issuer,
            leeway=LEEWAY_SECONDS,
            options=_CHECKS,
        )
        if not self._is_for_us(claims):
            raise jwt.InvalidAudienceError
        return claims

    def _is_for_us(self, claims: Mapping[str, object]) -> bool:
        """Cognito's access tokens have no `aud`: their `client_id` stands for it."""
        audience = claims.get("aud")
        if audience is None and claims.get("token_use") == "access":
            audience = claims.get("client_id")
        audiences = audience if isinstance(audience, list) else [audience]
        return self._settings.jwt_audience in audiences


def _display_name(claims: Mapping[str, object]) -> str | None:
    for claim in NAME_CLAIMS:
        name = claims.get(claim)
        if isinstance(name, str) and name.strip():
            return name.encode(errors="replace").decode()[:MAX_NAME]
    return None
