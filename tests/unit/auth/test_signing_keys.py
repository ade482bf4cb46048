import socket
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from commons.auth.signing_keys import (
    ATTEMPTS,
    LIFETIME_SECONDS,
    REFETCH_INTERVAL_SECONDS,
    REFRESH_SECONDS,
    RETRY_INTERVAL_SECONDS,
    IssuerUnreachableError,
    SigningKeys,
)
from commons.auth.tokens import TokenVerifier
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
def pauses() -> list[float]:
    return []


@pytest.fixture
def signing_keys(issuer: Issuer, clock: Clock, pauses: list[float]) -> SigningKeys:
    return SigningKeys(issuer.url, monotonic=clock, sleep=pauses.append)


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
    clock.seconds += REFRESH_SECONDS
    assert signing_keys.find("key-2") is None


BROKEN: dict[str, Callable[[Issuer], None]] = {
    "500": lambda issuer: setattr(issuer, "status", 500),
    "cut off": lambda issuer: setattr(issuer, "cut_off", True),
    "no keys": lambda issuer: setattr(issuer, "body", b"[]"),
    "no JSON": lambda issuer: setattr(issuer, "body", b"<html>"),
}


@pytest.mark.parametrize("break_issuer", BROKEN.values(), ids=BROKEN)
def test_remembered_keys_serve_for_a_day_while_the_issuer_is_down(
    issuer: Issuer,
    signing_keys: SigningKeys,
    clock: Clock,
    pauses: list[float],
    break_issuer: Callable[[Issuer], None],
) -> None:
    signing_keys.find("key-1")
    break_issuer(issuer)
    clock.seconds += REFRESH_SECONDS
    for _ in range(20):
        assert signing_keys.find("key-1") is not None
    # Nobody waits for what is not needed yet.
    assert issuer.fetches == 2
    assert pauses == []
    clock.seconds += LIFETIME_SECONDS
    with pytest.raises(IssuerUnreachableError):
        signing_keys.find("key-1")


@pytest.mark.parametrize("break_issuer", BROKEN.values(), ids=BROKEN)
def test_without_keys_a_failed_fetch_is_tried_again_within_the_call(
    issuer: Issuer,
    clock: Clock,
    break_issuer: Callable[[Issuer], None],
) -> None:
    break_issuer(issuer)
    keys = SigningKeys(issuer.url, monotonic=clock, sleep=lambda _: issuer.recover())
    assert keys.find("key-1") is not None
    assert issuer.fetches == 2


def test_an_issuer_that_is_down_is_asked_three_times_and_left_alone_for_a_second(
    issuer: Issuer, signing_keys: SigningKeys, clock: Clock, pauses: list[float]
) -> None:
    issuer.status = 503
    for _ in range(20):
        with pytest.raises(IssuerUnreachableError):
            signing_keys.find("key-1")
    assert issuer.fetches == ATTEMPTS
    assert len(pauses) == ATTEMPTS - 1
    issuer.status = 200
    clock.seconds += RETRY_INTERVAL_SECONDS
    assert signing_keys.find("key-1") is not None


def test_a_key_id_that_is_not_remembered_is_not_judged_while_the_issuer_is_down(
    issuer: Issuer, signing_keys: SigningKeys, clock: Clock
) -> None:
    signing_keys.find("key-1")
    issuer.status = 503
    clock.seconds += REFETCH_INTERVAL_SECONDS
    for _ in range(2):
        with pytest.raises(IssuerUnreachableError):
            signing_keys.find("rotated")
    assert signing_keys.find("key-1") is not None


def test_an_issuer_that_hangs_is_given_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/jwks"
        keys = SigningKeys(url, timeout=0.05, sleep=lambda _: None)
        with pytest.raises(IssuerUnreachableError):
            keys.find("key-1")


def test_a_token_is_not_judged_while_no_key_can_be_had(
    settings: TokenSettings, issuer: Issuer, claims: MakeClaims
) -> None:
    issuer.status = 500
    keys = SigningKeys(issuer.url, sleep=lambda _: None)
    with pytest.raises(IssuerUnreachableError):
        TokenVerifier(settings, signing_keys=keys).verify(issuer.sign(claims()))
