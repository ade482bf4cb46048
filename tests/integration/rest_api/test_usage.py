"""What replies have cost, by day, user and model; and which are open."""

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client

from commons.records.spend import NO_COST, Cost, Reservation
from commons.services.generations import GenerationsService
from commons.services.spend import SpendService


@pytest.fixture
def channel(alice: Client) -> str:
    return alice.new_channel("bob")


def spend(repository: InMemoryRepository, channel: str, day: str, user: str = "bob") -> None:
    reservation = Reservation(day=day, user_id=user, model_id="m", input_tokens=7, tokens=10)
    service = SpendService(repository)
    repository.transact(service.reserving(channel, reservation, old=None, cost=NO_COST))
    cost = Cost(requests=1, input_tokens=5, output_tokens=2)
    repository.transact(service.settling(channel, reservation, cost))


def days(client: Client, channel: str, query: str = "") -> list[str]:
    answer = client.get(f"/v1/channels/{channel}/usage{query}")
    assert answer.status == 200, answer.text
    return [item["day"] for item in answer.body["items"]]


def test_an_owner_sees_sums_by_day_user_and_model(
    alice: Client, channel: str, repository: InMemoryRepository
) -> None:
    for _ in range(2):
        spend(repository, channel, "2026-03-01")

    answer = alice.get(f"/v1/channels/{channel}/usage")

    assert answer.body == {
        "items": [
            {
                "day": "2026-03-01",
                "userId": "bob",
                "modelId": "m",
                "requests": 2,
                "inputTokens": 10,
                "outputTokens": 4,
            }
        ],
        "nextCursor": None,
    }


def test_the_days_asked_for_are_both_included(
    alice: Client, channel: str, repository: InMemoryRepository
) -> None:
    for day in ("2026-02-28", "2026-03-01", "2026-03-02"):
        spend(repository, channel, day)

    assert days(alice, channel, "?from=2026-03-01&to=2026-03-01") == ["2026-03-01"]
    assert days(alice, channel, "?from=2026-03-01") == ["2026-03-01", "2026-03-02"]
    assert days(alice, channel, "?to=2026-03-01") == ["2026-02-28", "2026-03-01"]


def test_pages_hold_each_sum_once(
    alice: Client, channel: str, repository: InMemoryRepository
) -> None:
    for user in ("ann", "ben", "cat"):
        spend(repository, channel, "2026-03-01", user)

    first = alice.get(f"/v1/channels/{channel}/usage?limit=2").body
    second = alice.get(f"/v1/channels/{channel}/usage?limit=2&cursor={first['nextCursor']}").body

    assert [item["userId"] for item in first["items"] + second["items"]] == ["ann", "ben", "cat"]
    assert second["nextCursor"] is None


def test_a_member_sees_no_bill(alice: Client, channel: str) -> None:
    assert alice.as_user("bob").get(f"/v1/channels/{channel}/usage").status == 403
    assert alice.as_user("mallory").get(f"/v1/channels/{channel}/usage").status == 404


@pytest.mark.parametrize("query", ["?from=yesterday", "?to=2026-02-30", "?from=2026-3-1"])
def test_what_is_no_day_is_refused(alice: Client, channel: str, query: str) -> None:
    assert alice.get(f"/v1/channels/{channel}/usage{query}").status == 422


def test_open_replies_are_listed_until_they_have_ended(
    alice: Client, channel: str, repository: InMemoryRepository
) -> None:
    alice.say(channel, "a question")
    generations = GenerationsService(repository)
    generations.ask(channel, 1, "alice", correlation_id=None)
    path = f"/v1/channels/{channel}/generations"

    (listed,) = alice.as_user("bob").get(path).body["items"]
    alice.post(f"{path}/cancel")

    assert (listed["replyTo"], listed["generation"], listed["status"]) == (1, 1, "queued")
    assert listed["startedAt"].endswith("Z")
    assert alice.get(path).body == {"items": []}
