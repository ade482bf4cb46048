"""PostRate: posts a second a user, by whatever channel."""

from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client
from tests.integration.rest_api.conftest import MakeApi


def posts(client: Client, channel: str, count: int) -> list[int]:
    path = f"/v1/channels/{channel}/messages"
    return [client.post(path, {"text": "t"}).status for _ in range(count)]


def test_past_the_burst_posts_are_throttled_and_told_when_to_come_back(
    repository: InMemoryRepository, make_api: MakeApi
) -> None:
    alice = make_api(repository, post_rate=1)
    channel, other = alice.new_channel("bob"), alice.new_channel()

    assert posts(alice, channel, 2) == [201, 201]
    refused = alice.post(f"/v1/channels/{other}/messages", {"text": "t"})

    assert refused.status == 429
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["content-type"] == "application/problem+json"
    assert posts(alice.as_user("bob"), channel, 1) == [201]
    assert alice.get(f"/v1/channels/{channel}/messages").status == 200


def test_zero_is_no_limit(alice: Client) -> None:
    channel = alice.new_channel()

    assert set(posts(alice, channel, 100)) == {201}
