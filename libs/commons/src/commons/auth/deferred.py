"""Checking tokens in a function that rarely has one to check."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from commons.schemas.caller import Caller
from commons.settings import TokenSettings

if TYPE_CHECKING:
    from commons.auth.tokens import TokenVerifier


def deferred_verifier(settings: TokenSettings) -> Callable[[str], Caller]:
    """As `TokenVerifier.verify`.

    The first token imports `cryptography`, which costs as much as all the rest.
    """

    @cache
    def verifier() -> "TokenVerifier":
        from commons.auth.tokens import TokenVerifier  # noqa: PLC0415 - see above

        return TokenVerifier(settings)

    return lambda token: verifier().verify(token)
