"""A small room whose storage fails at one call, and what must hold of it whatever failed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, cast

from tests.doubles.broadcaster import InMemoryBroadcaster
from tests.doubles.faults import FailingRepository, Failure
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.clock import epoch_milliseconds
from commons.dal import Item, Table
from commons.dynamodb.exceptions import StorageBusyError, StorageUnreachableError
from commons.records.connection import Connection, Subscription
from commons.schemas.caller import Caller
from commons.schemas.message import PostMessage
from commons.services.connections import ConnectionsService
from commons.services.generations import GenerationsService
from commons.services.messages import MessagesService
from commons.services.subscriptions import ENDED

CHANNEL: Final = "abcdefghijklmnopqrstuv"

FAILURES: Final[Mapping[str, Failure]] = {
    "busy": Failure(0, StorageBusyError),
    "unreachable": Failure(0, StorageUnreachableError),
    "not to be reached from then on": Failure(0, StorageUnreachableError, lasting=True),
    "made, and its answer lost": Failure(0, StorageUnreachableError, committed=True),
}


def caller(user_id: str, *, seconds: int = 3_600) -> Caller:
    return Caller(
        user_id=user_id,
        name=user_id.title(),
        expires_at=epoch_milliseconds() // 1_000 + seconds,
    )


@dataclass
class Room:
    """Alice's channel with bob in it, two questions of alice's, and an open reply to the first.

    Alice and bob have a connection each, `alice-1` and `bob-1`, which listen to the channel.
    """

    storage: InMemoryRepository = field(default_factory=InMemoryRepository)
    broadcaster: InMemoryBroadcaster = field(default_factory=InMemoryBroadcaster)

    def __post_init__(self) -> None:
        self.failing = FailingRepository(self.storage)
        self.connections = ConnectionsService(self.storage)
        self.generations = GenerationsService(self.storage)
        meta: Item = {
            **keys.channel_key(CHANNEL),
            "channel_id": CHANNEL,
            "name": "Team",
            "created_at": "2026-01-01T00:00:00.000Z",
            "created_by": "alice",
            "member_count": 2,
            "owner_count": 1,
            "agent": {"model_id": "model-a", "tools": ["notes.*"]},
        }
        self.storage.put(Table.CHANNELS, meta)
        self.join("alice", role="owner")
        self.join("bob")
        self.say("first")
        self.say("second")
        self.generations.ask(CHANNEL, 1, "alice", correlation_id=None)
        for user_id in ("alice", "bob"):
            self.connect(user_id, CHANNEL)

    def join(self, user_id: str, role: str = "member") -> None:
        member: Item = {
            **keys.member_key(CHANNEL, user_id),
            "channel_id": CHANNEL,
            "user_id": user_id,
            "role": role,
            "joined_at": "2026-01-01T00:00:00.000Z",
        }
        self.storage.put(Table.CHANNELS, member)

    def say(self, text: str) -> int:
        posted = MessagesService(self.storage).post(
            CHANNEL, caller("alice"), PostMessage(text=text)
        )
        return posted.event.seq

    def connect(self, user_id: str, *channels: str) -> Connection:
        """As a handshake a minute ago left it."""
        return self.connections.register(
            f"{user_id}-1",
            caller(user_id),
            connected_at=epoch_milliseconds() - 60_000,
            channels=channels,
        )

    def fail(self, at_call: int, kind: str) -> None:
        self.failing.arm(replace(FAILURES[kind], at_call=at_call))

    def heal(self) -> None:
        self.failing.arm(None)

    def event_types(self) -> list[str]:
        events = [
            item
            for item in self.storage.all_items(Table.CHAT_EVENTS)
            if item["channel_id"] == CHANNEL and "type" in item
        ]
        return [
            str(item["type"]) for item in sorted(events, key=lambda item: cast("int", item["seq"]))
        ]

    def check(self) -> None:
        """Nothing is half written."""
        check_log(self.storage)
        check_connections(self.storage)


def check_log(storage: InMemoryRepository, channel_id: str = CHANNEL) -> None:
    """The log has no gap."""
    seqs = sorted(
        cast("int", item["seq"])
        for item in storage.all_items(Table.CHAT_EVENTS)
        if item["channel_id"] == channel_id and "type" in item
    )
    assert seqs == list(range(1, len(seqs) + 1))


def check_connections(storage: InMemoryRepository) -> None:
    """Subscriptions are those that their connections name, and end when these do."""
    rows = storage.all_items(Table.CONNECTIONS)
    subscriptions = [
        Subscription.model_validate(row) for row in rows if "state" in row and "user_id" in row
    ]
    connections = {
        str(row["connection_id"]): row for row in rows if str(row["channel_id"]).startswith("conn#")
    }
    for connection_id, row in connections.items():
        connection = Connection.model_validate(row)
        own = [each for each in subscriptions if each.connection_id == connection_id]
        if connection.expires_at == ENDED:
            assert own == []
            continue
        assert {each.channel_id for each in own} == connection.channels
        assert row["channel_count"] == len(own)
        assert {each.expires_at for each in own} <= {connection.expires_at}
    assert {each.connection_id for each in subscriptions} <= connections.keys()
    assert [each for each in subscriptions if each.state == "replaying"] == []
    places = {str(row["sk"]) for row in rows if str(row["channel_id"]).startswith("user#")}
    assert places == {
        connection_id for connection_id, row in connections.items() if row["expires_at"] != ENDED
    }
