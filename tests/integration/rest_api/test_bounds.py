"""No answer grows with what a caller sends or with what others have stored."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Answer, Client, proxy_event, walk

from commons import keys
from commons.dal import Table, Update
from commons.schemas.base import BaseSchema
from commons.schemas.message import PostMessage
from rest_api import schemas

MEGABYTE = 1_048_576


def post_raw(client: Client, target: str, body: str) -> Answer:
    headers = {"Content-Type": "application/json"}
    return client.send(proxy_event("POST", target, user="alice", body=body, headers=headers))


def bodies_of_many_wrong_fields() -> Iterator[str]:
    yield "{" + ",".join(f'"{number:x}":0' for number in range(50_000)) + "}"
    yield json.dumps({"name": "x", "members": [1] * 100_000})
    yield "{" + ",".join(f'"{"\\u0001" * 2_000}{number}":0' for number in range(30)) + "}"
    yield "{" + ",".join(f'"{"😀" * 2_000}{number}":0' for number in range(30)) + "}"


@pytest.mark.parametrize("body", list(bodies_of_many_wrong_fields()), ids=range(4))
@pytest.mark.parametrize("target", ["/v1/channels", "/v1/channels/{channel}/messages"])
def test_a_problem_names_20_fields_at_most_and_takes_16_kb(
    alice: Client, target: str, body: str
) -> None:
    answer = post_raw(alice, target.format(channel=alice.new_channel()), body)

    assert answer.status == 422
    assert 1 <= len(answer.body["errors"]) <= 20
    assert len(answer.text.encode()) <= 16_384


def test_a_problem_about_a_query_is_as_small(alice: Client) -> None:
    name = "x" * 100_000

    answer = alice.get(f"/v1/channels?{name}=1&{name}=2")

    assert answer.status == 422
    assert len(answer.text.encode()) <= 16_384


# -- pages


def test_a_list_that_ends_exactly_with_its_page_has_no_cursor(alice: Client) -> None:
    channel, *_ = [alice.new_channel("bob") for _ in range(3)]
    for _ in range(3):
        alice.say(channel)

    for path, count in {
        "/v1/channels": 3,
        f"/v1/channels/{channel}/members": 2,
        f"/v1/channels/{channel}/messages": 3,
    }.items():
        assert alice.get(f"{path}?limit={count}").body["nextCursor"] is None, path
        assert alice.get(f"{path}?limit={count - 1}").body["nextCursor"] is not None, path


def test_channels_that_are_deleted_and_not_cleared_make_no_page_short_and_no_cursor(
    alice: Client, repository: InMemoryRepository
) -> None:
    channels = sorted(alice.new_channel() for _ in range(8))
    gone, kept = channels[1:6], [channels[0], *channels[6:]]
    for channel in gone:
        repository.update(Table.CHANNELS, keys.channel_key(channel), Update(set={"deleted": True}))

    answer = alice.get("/v1/channels?limit=3").body
    first = alice.get("/v1/channels?limit=2").body

    assert [channel["channelId"] for channel in answer["items"]] == kept
    assert answer["nextCursor"] is None
    assert [channel["channelId"] for channel in first["items"]] == kept[:2]
    rest = alice.get(f"/v1/channels?limit=2&cursor={first['nextCursor']}").body
    assert [channel["channelId"] for channel in rest["items"]] == kept[2:]


def test_a_page_of_channels_with_long_prompts_ends_before_a_megabyte(alice: Client) -> None:
    channels = {alice.new_channel(agent={"systemPrompt": "😀" * 4_000}) for _ in range(80)}

    pages = list(walk(alice, "/v1/channels?limit=100"))

    assert len(pages) > 1
    assert {channel["channelId"] for items in pages for channel in items} == channels
    assert all(len(json.dumps(items, ensure_ascii=False).encode()) < MEGABYTE for items in pages)


# -- numbers


@pytest.mark.parametrize("temperature", [1e-200, 5e-324, -0.0, 0.0, 1e-6, 0.1, 1, 1.0])
def test_any_temperature_from_0_to_1_is_stored(alice: Client, temperature: float) -> None:
    channel = alice.new_channel(agent={"temperature": temperature})

    changed = alice.patch(f"/v1/channels/{channel}", {"agent": {"temperature": temperature}})

    assert changed.status == 200
    assert changed.body["agent"]["temperature"] == pytest.approx(temperature, abs=1e-6)


@pytest.mark.parametrize("number", [1e-200, 5e-324, 1e308, -1e308, 10**300, 1e22, -0.0])
def test_metadata_comes_back_with_any_number(alice: Client, number: float) -> None:
    channel = alice.new_channel()

    answer = alice.post(
        f"/v1/channels/{channel}/messages", {"text": "x", "metadata": {"n": [number]}}
    )

    assert answer.status == 201
    assert answer.body["data"]["metadata"] == {"n": [number]}


def numbers_of(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if schema.get("type") in {"number", "integer"}:
        yield schema
    for value in schema.values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                yield from numbers_of(part)


@pytest.mark.parametrize(
    "schema",
    [
        schemas.CreateChannel,
        schemas.UpdateChannel,
        schemas.EditMessage,
        schemas.MarkRead,
        schemas.CancelGenerations,
        schemas.PageQuery,
        schemas.MessagesQuery,
        schemas.EventsQuery,
        PostMessage,
    ],
)
def test_every_number_that_a_caller_may_send_is_bounded(schema: type[BaseSchema]) -> None:
    for number in numbers_of(schema.model_json_schema()):
        assert {"minimum", "maximum"} <= set(number), number


def test_a_path_that_is_no_text_names_no_channel(alice: Client) -> None:
    event = proxy_event("GET", "/v1/channels/\ud800", user="alice")

    assert alice.send(event).status == 404
