import socket
import time
from dataclasses import dataclass

import pytest

from commons.auth.signing_keys import (
    LIFETIME_SECONDS,
    REFETCH_INTERVAL_SECONDS,
    RETRY_INTERVAL_SECONDS,
    SigningKeys,
    SigningKeysUnavailableError,
)
from commons.auth.tokens import TokenVerifier
from commons.errors import UnauthenticatedError
from commons.settings import TokenSettings

from .conftest import Issuer, MakeClaims


@dataclass
class Clock:
    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signing_keys(issuer: Issuer, clock: Clock) -> SigningKeys:
    return SigningKeys(issuer.url, monotonic=clock)


def test_keys_are_fetched_once_for_many_lookups(issuer: Issuer, signing_keys: SigningKeys) -> None:
    for _ in range(20):
        assert signing_keys.find("key-1") is not None
    assert issuer.fetches == 1


def test_a_new_key_is_found_at_once(issuer: Issuer, signing_keys: SigningKeys) -> None:
    signing_keys.find("key-1")
    issuer.add_key("key-2")
    assert signing_keys.find("key-2") is not None
    assert issuer.fetches == 2


def test_invented_key_ids_do_not_become_requests_to_the_issuer(
    issuer: Issuer, signing_keys: SigningKeys, clock: Clock
) -> None:
    for number in range(50):
        assert signing_keys.find(f"invented-{number}") is None
    assert issuer.fetches == 2
    clock.seconds += REFETCH_INTERVAL_SECONDS
    signing_keys.find("invented")
    assert issuer.fetches == 3


def test_a_withdrawn_key_is_believed_until_the_set_grows_old(
    issuer: Issuer, signing_keys: SigningKeys, clock: Clock
) -> None:
    issuer.add_key("key-2")
    assert signing_keys.find("key-2") is not None
    del issuer.keys["key-2"]
    assert signing_keys.find("key-2") is not None
    clock.seconds += LIFETIME_SECONDS
    assert signing_keys.find("key-2") is None


def test_remembered_keys_serve_while_the_issuer_is_down(
    issuer: Issuer, signing_keys: SigningKeys, clock: Clock
) -> None:
    signing_keys.find("key-1")
    issuer.status = 500
    clock.seconds += LIFETIME_SECONDS
    for _ in range(20):
        assert signing_keys.find("key-1") is not None
    assert issuer.fetches == 2


def test_an_issuer_that_is_down_is_asked_again_after_a_pause(
    issuer: Issuer, signing_keys: SigningKeys, clock: Clock
) -> None:
    issuer.status = 503
    for _ in range(20):
        with pytest.raises(SigningKeysUnavailableError):
            signing_keys.find("key-1")
    assert issuer.fetches == 1
    issuer.status = 200
    clock.seconds += RETRY_INTERVAL_SECONDS
    assert signing_keys.find("key-1") is not None


def test_an_issuer_that_hangs_is_given_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        keys = SigningKeys(f"http://127.0.0.1:{silent.getsockname()[1]}/jwks", timeout=0.1)
        started = time.monotonic()
        with pytest.raises(SigningKeysUnavailableError):
            keys.find("key-1")
        assert time.monotonic() - started < 2


def test_a_token_is_refused_while_no_key_can_be_had(
    settings: TokenSettings, issuer: Issuer, claims: MakeClaims
) -> None:
    issuer.status = 500
    with pytest.raises(UnauthenticatedError):
        TokenVerifier(settings).verify(issuer.sign(claims()))
