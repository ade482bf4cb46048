"""The issuer's public keys."""

import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from threading import Lock
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWKClient
from jwt.exceptions import PyJWTError

from commons.errors import UnavailableError
from commons.observability import log

ALGORITHM: Final = "RS256"

REFRESH_SECONDS: Final = 300.0
"""How old the keys may be before they are fetched anew; a key that the issuer withdrew is believed
so long."""

LIFETIME_SECONDS: Final = 86_400.0
"""How long keys go on serving while the issuer does not answer."""

REFETCH_INTERVAL_SECONDS: Final = 30.0
"""Tokens with invented key ids must not become requests to the issuer."""

RETRY_INTERVAL_SECONDS: Final = 1.0
"""How long an issuer that did not answer is left alone."""

TIMEOUT_SECONDS: Final = 3.0
"""Of one request. API Gateway waits 29 s for a handshake, and others wait behind this one."""

ATTEMPTS: Final = 3
PAUSE_SECONDS: Final = 0.2

_FETCH_ERRORS: Final = (PyJWTError, OSError, ValueError, HTTPException)


class IssuerUnreachableError(UnavailableError):
    """The issuer does not serve its keys, and those remembered do not tell: no token is judged."""


class SigningKeys:
    """RS256 keys of a JWKS, by `kid`.

    The set is fetched at first use and anew every 5 minutes; while that fails, the one that is
    remembered goes on serving for a day. An unknown `kid` fetches it anew, at most every 30 s. A
    fetch without which there is no answer is tried three times.

    Args:
        jwks_url: http(s) only.
        monotonic: seconds, for tests.
        sleep: waits so many seconds between attempts.
    """

    def __init__(
        self,
        jwks_url: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = PyJWKClient(jwks_url, cache_jwk_set=False, timeout=timeout)
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = Lock()
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._fetched_at = float("-inf")
        self._failed_at = float("-inf")
        self._refetch_at = float("-inf")

    def find(self, key_id: str) -> RSAPublicKey | None:
        """The key with that id; None where the issuer has none.

        Raises:
            IssuerUnreachableError: it is not known whether the issuer has it.
        """
        with self._lock:
            if self._age() >= REFRESH_SECONDS and not self._is_left_alone():
                self._fetch(attempts=1 if self._is_known(key_id) else ATTEMPTS)
            if self._is_known(key_id):
                return self._keys[key_id]
            if self._monotonic() < self._refetch_at:
                return None
            if self._is_left_alone() or not self._fetch(attempts=ATTEMPTS):
                raise IssuerUnreachableError
            self._refetch_at = self._monotonic() + REFETCH_INTERVAL_SECONDS
            return self._keys.get(key_id)

    def _age(self) -> float:
        return self._monotonic() - self._fetched_at

    def _is_known(self, key_id: str) -> bool:
        return key_id in self._keys and self._age() < LIFETIME_SECONDS

    def _is_left_alone(self) -> bool:
        return self._monotonic() - self._failed_at < RETRY_INTERVAL_SECONDS

    def _fetch(self, *, attempts: int) -> bool:
        """False where the issuer did not answer."""
        for attempt in range(1, attempts + 1):
            try:
                keys = self._client.get_signing_keys()
            except _FETCH_ERRORS as error:
                log.warning(
                    "issuer's keys not fetched", attempt=attempt, error=type(error).__name__
                )
                if attempt < attempts:
                    self._sleep(PAUSE_SECONDS * attempt)
                continue
            self._keys = {
                key.key_id: key.key for key in keys if key.key_id is not None and _verifies(key)
            }
            self._fetched_at = self._monotonic()
            return True
        self._failed_at = self._monotonic()
        return False


def _verifies(key: PyJWK) -> bool:
    return key.algorithm_name == ALGORITHM and isinstance(key.key, RSAPublicKey)
