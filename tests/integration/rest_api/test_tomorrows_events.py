"""What a newer version writes is read, listed, synced and delivered by this one as it is."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.delivery_queues import NoQueues
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Item, Table
from commons.dal.serialisation import serialize_item
from commons.realtime import encoded_frames
from commons.records.channel import AgentRecord
from commons.records.event import event_from_item
from commons.schemas.caller import Caller
from commons.services.connections import ConnectionsService
from commons.services.crowding import CrowdingService
from commons.services.event_log import EventLogService
from commons.services.generations import GenerationsService
from commons.services.history import HistoryService
from commons.services.membership import MembershipService
from websocket_session.services.catch_up import CatchUpService
from workers_agent.services.context import ContextService
from workers_agent_dispatcher.queue import IQueue
from workers_agent_dispatcher.schemas import Question, StreamRecord
from workers_agent_dispatcher.services.dispatch import DispatchService
from workers_delivery.composition import build_services
from workers_delivery.records import read_batch

if TYPE_CHECKING:
    from commons.schemas import lambda_events

POLL: Item = {
    "type": "poll.created",
    "sender_kind": "bot",
    "data": {
        "question": "?",
        "closes_at": "2027-01-01T00:00:00.000Z",
        "options": [{"option_id": 1, "text": "yes"}],
        "extra_json": '{"as_it_came": {"a_b": 1.0}}',
    },
}
POLL_ON_THE_WIRE = {
    "question": "?",
    "closesAt": "2027-01-01T00:00:00.000Z",
    "options": [{"optionId": 1, "text": "yes"}],
    "extra": {"as_it_came": {"a_b": 1.0}},
}
MESSAGE: Item = {
    "type": "message.created",
    "sender_kind": "user",
    "mood": "good",
    "data": {
        "text": "two",
        "due_at": 7,
        "finish_reason": "paused",
        "usage": {"model_id": "m", "input_tokens": 1, "output_tokens": 2, "cached_tokens": 3},
    },
}
MESSAGE_ON_THE_WIRE = {
    "text": "two",
    "dueAt": 7,
    "finishReason": "paused",
    "usage": {"modelId": "m", "inputTokens": 1, "outputTokens": 2, "cachedTokens": 3},
}
ROLE: Item = {
    "type": "member.updated",
    "sender_kind": "user",
    "data": {"user_id": "bob", "role": "moderator"},
}


def write(repository: InMemoryRepository, channel: str, seq: int, event: Item) -> Item:
    item: Item = {
        **keys.event_key(channel, seq),
        "created_at": "2026-01-01T00:00:00.000Z",
        "sender_id": "alice",
        **event,
    }
    if event["type"] == "message.created":
        item["message_seq"] = seq
    repository.put(Table.CHAT_EVENTS, item)
    return item


@pytest.fixture
def channel(alice: Client, repository: InMemoryRepository) -> str:
    """Holds: a message, a poll, a message of tomorrow's, a role of tomorrow's, a message."""
    channel = alice.new_channel("bob")
    alice.say(channel, "one")
    write(repository, channel, 2, POLL)
    write(repository, channel, 3, MESSAGE)
    write(repository, channel, 4, ROLE)
    alice.say(channel, "five")
    return channel


def check(events: list[dict[str, Any]]) -> None:
    assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
    assert events[1]["type"] == "poll.created"
    assert events[1]["sender"] == {"id": "alice", "kind": "bot"}
    assert events[1]["data"] == POLL_ON_THE_WIRE
    assert events[2]["data"] == MESSAGE_ON_THE_WIRE
    assert "mood" not in events[2]
    assert events[3]["data"] == {"userId": "bob", "role": "moderator"}


def logged(repository: InMemoryRepository, channel: str) -> list[Item]:
    items = [i for i in repository.all_items(Table.CHAT_EVENTS) if i["channel_id"] == channel]
    return sorted(items, key=lambda item: cast("int", item["seq"]))


def test_rest_lists_them(alice: Client, channel: str) -> None:
    check(alice.get(f"/v1/channels/{channel}/events").body["items"])
    messages = alice.get(f"/v1/channels/{channel}/messages").body["items"]
    assert [(message["seq"], message["text"]) for message in messages] == [
        (1, "one"),
        (3, "two"),
        (5, "five"),
    ]
    assert messages[1]["finishReason"] == "paused"
    assert alice.get(f"/v1/channels/{channel}/messages/3").status == 200
    assert alice.get(f"/v1/channels/{channel}/messages/2").status == 404
    assert alice.get(f"/v1/channels/{channel}").body["lastSeq"] == 5
    assert alice.post(f"/v1/channels/{channel}/messages/2/regenerate").status == 404


def test_sync_and_replay_frames_carry_them(
    channel: str, alice: Client, repository: InMemoryRepository
) -> None:
    catch_up = CatchUpService(repository, event_log=EventLogService(repository))
    page = catch_up.frame_page(channel, alice.user, after=0, limit=100).content

    check(page.to_wire()["items"])
    (frame,) = encoded_frames.events(page.items)
    check(json.loads(frame)["events"])


def test_delivery_reads_them_off_the_stream(channel: str, repository: InMemoryRepository) -> None:
    records = [stream_record(item) for item in logged(repository, channel)]

    batch = read_batch(records)

    assert (batch.malformed, batch.unidentified) == ([], 0)
    check([event.to_wire() for _, event in sorted(batch.events[channel].items())])


def test_delivery_fills_holes_with_them(channel: str, repository: InMemoryRepository) -> None:
    caller = Caller(user_id="bob", expires_at=2**40)
    moment = epoch_milliseconds() - 60_000
    ConnectionsService(repository).register("c1", caller, connected_at=moment, channels=[channel])
    first, *_, last = [event_from_item(item) for item in logged(repository, channel)]
    broadcaster = InMemoryBroadcaster()
    delivery = build_services(
        repository, gateway=broadcaster, patient=broadcaster, queues=NoQueues()
    ).delivery

    delivery.deliver({channel: {first.seq: first, last.seq: last}})

    check([event for frame in broadcaster.frames["c1"] for event in json.loads(frame)["events"]])


class Asked(IQueue):
    """A queue that remembers what it was asked."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.parked: list[object] = []

    def ask(self, questions: Sequence[Question]) -> list[int]:
        self.seqs += [question.request.question_seq for question in questions]
        return []

    def park(self, parked: object) -> None:
        self.parked.append(parked)


def test_the_dispatcher_asks_what_it_knows_and_parks_nothing(
    channel: str, repository: InMemoryRepository
) -> None:
    queue = Asked()
    records = [
        StreamRecord(
            sequence_number=str(item["seq"]),
            channel_id=channel,
            seq=cast("int", item["seq"]),
            image=item,
        )
        for item in logged(repository, channel)
    ]

    dispatcher = DispatchService(
        queue,
        repository,
        membership=MembershipService(repository),
        generations=GenerationsService(repository),
        crowding=CrowdingService(repository, workers=20),
    )

    dispatcher.dispatch(records)

    assert queue.seqs == [1, 3, 5]
    assert queue.parked == []


def test_the_agent_reads_past_them(channel: str, repository: InMemoryRepository) -> None:
    context = ContextService(repository, tokens=6_000, allowed_models=["m"])

    prompt = context.prompt(channel, 5, AgentRecord(model_id="m"))

    said = "\n".join(turn.text for turn in prompt.turns)
    assert [text for text in ("one", "two", "five", "?") if text in said] == ["one", "two", "five"]


def test_they_are_appended_behind_and_deleted_without_a_trace(
    alice: Client, channel: str, repository: InMemoryRepository
) -> None:
    secret: Item = {**MESSAGE, "data": {"text": "two", "translation": "a secret"}}
    seq = EventLogService(repository).head(channel) + 1
    write(repository, channel, seq, secret)

    assert alice.delete(f"/v1/channels/{channel}/messages/{seq}").status == 204

    assert "a secret" not in repr(repository.all_items(Table.CHAT_EVENTS))
    assert HistoryService(repository).message(channel, seq).text == ""


def test_roles_and_modes_of_tomorrow_open_the_channel(
    alice: Client, channel: str, repository: InMemoryRepository
) -> None:
    for key, change in (
        (keys.member_key(channel, "bob"), {"role": "moderator"}),
        (
            keys.channel_key(channel),
            {"agent": {"mode": "digest", "model_id": "m", "voices": ["x"]}},
        ),
    ):
        repository.put(Table.CHANNELS, {**repository.get(Table.CHANNELS, key), **change})

    seen = alice.as_user("bob").get(f"/v1/channels/{channel}").body

    assert seen["role"] == "moderator"
    assert seen["agent"] == {"mode": "digest", "modelId": "m"}
    assert (
        alice.as_user("bob").post(f"/v1/channels/{channel}/messages", {"text": "hi"}).status == 201
    )


def stream_record(item: Item) -> "lambda_events.StreamRecord":
    key = {name: item[name] for name in ("channel_id", "seq")}
    record = {
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "dynamodb": {
            "Keys": serialize_item(key),
            "NewImage": serialize_item(item),
            "SequenceNumber": str(item["seq"]),
        },
    }
    return cast("lambda_events.StreamRecord", record)
