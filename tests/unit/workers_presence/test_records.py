import pytest

from commons import keys
from commons.dal.serialisation import serialize_item
from commons.records.connection import Backlog, RoomShards, Subscription
from commons.schemas.lambda_events import StreamChange, StreamRecord
from workers_presence.records import Change, read_changes
from workers_presence.schemas import Check

ARRIVAL = Check(channel_id="C", user_id="alice")


def record(
    kind: str,
    number: str = "1",
    *,
    user_id: str = "alice",
    shard: int = 0,
    old: str | None = None,
    new: str | None = None,
) -> StreamRecord:
    change: dict[str, object] = {
        "Keys": serialize_item(dict(keys.subscription_key("C", user_id, "conn", shard))),
        "SequenceNumber": number,
    }
    for image, state in (("OldImage", old), ("NewImage", new)):
        if state is not None:
            row = Subscription.model_validate(
                {
                    "channel_id": "C",
                    "connection_id": "conn",
                    "user_id": user_id,
                    "shard": shard,
                    "state": state,
                    "expires_at": 1,
                    "connected_at": 1,
                }
            )
            change[image] = serialize_item(row.to_item())
    return {
        "eventName": kind,  # type: ignore[typeddict-item]  # one of the three
        "eventSource": "aws:dynamodb",
        "dynamodb": StreamChange(**change),  # type: ignore[typeddict-item]  # put together above
    }


def test_a_subscription_that_is_inserted_live_or_goes_live_is_an_arrival() -> None:
    changes = read_changes(
        [
            record("INSERT", "1", new="live"),
            record("MODIFY", "2", user_id="bob", old="replaying", new="live"),
        ]
    )

    assert changes.items == (
        Change(ARRIVAL, "1"),
        Change(Check(channel_id="C", user_id="bob"), "2"),
    )


def test_a_subscription_in_a_shard_is_one_of_its_channel() -> None:
    assert read_changes([record("INSERT", new="live", shard=3)]).items == (Change(ARRIVAL, "1"),)


def other(name: str, **images: dict[str, object]) -> StreamRecord:
    change = {image: serialize_item(item) for image, item in images.items()}
    return {
        "eventName": name,  # type: ignore[typeddict-item]  # one of the three
        "eventSource": "aws:dynamodb",
        "dynamodb": {"Keys": {}, "SequenceNumber": "1", **change},  # type: ignore[typeddict-item]
    }


@pytest.mark.parametrize(
    "passed_over",
    [
        record("INSERT", new="replaying"),
        record("MODIFY", old="live", new="live"),
        record("MODIFY", old="live", new="replaying"),
        other("INSERT", NewImage={"channel_id": "presence#C", "sk": "alice", "said": True}),
        other("INSERT", NewImage={"channel_id": "user#alice", "sk": "conn"}),
        other("REMOVE", OldImage={"channel_id": "conn#conn", "sk": "-"}),
        other("REMOVE", OldImage=RoomShards(shards=4).to_item("C")),
        other("REMOVE", OldImage=Backlog(backlog_through=1).to_item("C", ttl=1)),
    ],
)
def test_what_is_no_arrival_and_no_departure_is_passed_over(passed_over: StreamRecord) -> None:
    changes = read_changes([passed_over])

    assert (changes.items, changes.unreadable) == ((), 0)


def test_typing_that_is_wanted_is_a_check_once() -> None:
    key = {"channel_id": "typing#C", "sk": "alice"}
    appeared = other("MODIFY", OldImage={**key, "at": 1}, NewImage={**key, "wanted": True})
    changed = other("MODIFY", OldImage={**key, "wanted": True}, NewImage={**key, "wanted": False})

    changes = read_changes([appeared, changed])

    assert changes.items == (Change(Check(channel_id="C", user_id="alice", about="typing"), "1"),)


def test_of_a_user_a_batch_says_one_arrival_and_the_last_departure() -> None:
    changes = read_changes(
        [
            record("REMOVE", "1", old="live"),
            record("INSERT", "2", new="live"),
            record("REMOVE", "3", old="live"),
            record("INSERT", "4", new="live"),
        ]
    )

    departure = Check(channel_id="C", user_id="alice", mark="3")
    assert changes.items == (Change(departure, "1"), Change(ARRIVAL, "2"))


def test_a_record_that_cannot_be_read_spoils_no_other() -> None:
    broken = record("INSERT", new="live")
    broken["dynamodb"]["NewImage"] = {"state": {"X": "?"}}
    headless: StreamRecord = {"eventName": "INSERT", "eventSource": "aws:dynamodb"}  # type: ignore[typeddict-item]  # broken

    changes = read_changes([broken, headless, record("INSERT", "2", new="live")])

    assert changes.unreadable == 2
    assert changes.items == (Change(ARRIVAL, "2"),)
