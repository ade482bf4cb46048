"""The bucket of posts: its size, its refill, its cost."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.doubles.repository import InMemoryRepository

from commons.errors import TooManyRequestsError
from commons.services.rate_limit import NoticeRateService, PostRateService

START = 1_700_000_000_000


class Clock:
    def __init__(self) -> None:
        self.milliseconds = START

    def __call__(self) -> int:
        return self.milliseconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


type MakeService = Callable[[], PostRateService]


@pytest.fixture
def make_service(repository: InMemoryRepository, clock: Clock) -> MakeService:
    """A warm function of its own at each call, all on one storage."""
    return lambda: PostRateService(repository, rate=20, clock=clock)


@pytest.fixture
def updates(repository: InMemoryRepository, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []
    update = repository.update

    def counted(*args: Any, **kwargs: Any) -> Any:
        made.append("update")
        return update(*args, **kwargs)

    monkeypatch.setattr(repository, "update", counted)
    return made


def taken(service: PostRateService, most: int) -> int:
    for count in range(most):
        try:
            service.take("alice")
        except TooManyRequestsError:
            return count
    return most


def test_a_full_bucket_holds_forty_posts(make_service: MakeService) -> None:
    assert taken(make_service(), 100) == 40


def test_the_bucket_refills_with_twenty_posts_a_second(
    make_service: MakeService, clock: Clock
) -> None:
    service = make_service()
    taken(service, 100)

    clock.milliseconds += 1_000
    assert taken(service, 100) == 20
    clock.milliseconds += 49
    assert taken(service, 100) == 0
    clock.milliseconds += 1
    assert taken(service, 100) == 1


def test_the_bucket_never_holds_more_than_forty(make_service: MakeService, clock: Clock) -> None:
    service = make_service()
    taken(service, 100)

    clock.milliseconds += 3_600_000

    assert taken(service, 100) == 40


def test_functions_that_know_nothing_of_each_other_share_the_bucket(
    make_service: MakeService,
) -> None:
    first, second = make_service(), make_service()

    assert taken(first, 30) == 30
    assert taken(second, 100) == 10
    assert taken(first, 100) == 0


def test_users_do_not_share_a_bucket(make_service: MakeService) -> None:
    service = make_service()
    taken(service, 100)

    service.take("bob")


def test_a_refusal_says_when_to_come_back(make_service: MakeService) -> None:
    service = make_service()
    taken(service, 100)

    with pytest.raises(TooManyRequestsError) as refused:
        service.take("alice")

    assert refused.value.retry_after == 1


def test_a_post_costs_one_call(make_service: MakeService, clock: Clock, updates: list[str]) -> None:
    service = make_service()

    for pause in (0, 0, 10, 5_000, 0):
        clock.milliseconds += pause
        service.take("alice")

    assert len(updates) == 5


def test_a_refusal_that_a_warm_function_foresees_costs_no_call(
    make_service: MakeService, updates: list[str]
) -> None:
    service = make_service()

    assert taken(service, 100) == 40
    assert taken(service, 100) == 0

    assert len(updates) == 40


def test_a_user_has_others_told_of_ten_things_a_second_and_of_posts_besides(
    repository: InMemoryRepository, make_service: MakeService, clock: Clock
) -> None:
    notices = NoticeRateService(repository, kind="typing", clock=clock)
    allowed = 0
    for _ in range(300):
        try:
            notices.take("alice")
        except TooManyRequestsError:
            pass
        else:
            allowed += 1
        clock.milliseconds += 10
    assert allowed == 10 + 29
    NoticeRateService(repository, kind="read", clock=clock).take("alice")
    assert taken(make_service(), 100) == 40


def test_no_rate_costs_no_call(repository: InMemoryRepository, updates: list[str]) -> None:
    PostRateService(repository, rate=0).take("alice")

    assert updates == []
