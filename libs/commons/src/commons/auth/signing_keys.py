"""The issuer's public keys."""

import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWKClient
from jwt.exceptions import PyJWTError

from commons.observability import log

ALGORITHM: Final = "RS256"

LIFETIME_SECONDS: Final = 600.0
"""How long a key that the issuer withdrew is still believed."""

REFETCH_INTERVAL_SECONDS: Final = 30.0
"""Tokens with invented key ids must not become requests to the issuer."""

RETRY_INTERVAL_SECONDS: Final = 5.0
"""How long an issuer that did not answer is left alone."""

TIMEOUT_SECONDS: Final = 3.0
"""API Gateway waits 29 s for a handshake; callers behind this one wait too."""


class SigningKeysUnavailableError(Exception):
    """The issuer does not serve its keys, and none are remembered."""


class SigningKeys:
    """RS256 keys of a JWKS, by `kid`.

    The set is fetched at first use and every 10 minutes; where that fails, the one that is
    remembered goes on serving. An unknown `kid` fetches it anew, once, at most every 30 s.

    Args:
        jwks_url: http(s) only.
        monotonic: seconds, for tests.
    """

    def __init__(
        self,
        jwks_url: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = PyJWKClient(jwks_url, cache_jwk_set=False, timeout=timeout)
        self._monotonic = monotonic
        self._lock = Lock()
        self._keys: Mapping[str, RSAPublicKey] | None = None
        self._fetch_at = float("-inf")
        self._refetch_at = float("-inf")

    def find(self, key_id: str) -> RSAPublicKey | None:
        """The key with that id, or None.

        Raises:
            SigningKeysUnavailableError: there are no keys to look in.
        """
        with self._lock:
            moment = self._monotonic()
            if moment >= self._fetch_at:
                self._fetch(moment)
            if self._keys is None:
                raise SigningKeysUnavailableError
            if key_id not in self._keys and moment >= self._refetch_at:
                self._refetch_at = moment + REFETCH_INTERVAL_SECONDS
                self._fetch(moment)
            return self._keys.get(key_id)

    def _fetch(self, moment: float) -> None:
        try:
            keys = self._client.get_signing_keys()
        except (PyJWTError, OSError, ValueError) as error:
            self._fetch_at = moment + RETRY_INTERVAL_SECONDS
            log.error("the issuer's keys cannot be fetched", error=type(error).__name__)
            return
        self._keys = {
            key.key_id: key.key for key in keys if key.key_id is not None and _verifies(key)
        }
        self._fetch_at = moment + LIFETIME_SECONDS


def _verifies(key: PyJWK) -> bool:
    return key.algorithm_name == ALGORITHM and isinstance(key.key, RSAPublicKey)
