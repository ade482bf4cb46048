import pytest

from commons.dal.serialisation import serialize_item
from commons.schemas.lambda_events import StreamChange, StreamRecord
from workers_presence.records import Change, read_changes


def record(
    kind: str,
    number: str = "1",
    *,
    channel_id: str = "C",
    sort: str = "alice#conn",
    old: str | None = None,
    new: str | None = None,
) -> StreamRecord:
    key = {"channel_id": channel_id, "sk": sort}
    change: dict[str, object] = {"Keys": serialize_item(key), "SequenceNumber": number}
    if old is not None:
        change["OldImage"] = serialize_item({**key, "state": old})
    if new is not None:
        change["NewImage"] = serialize_item({**key, "state": new})
    return {
        "eventName": kind,  # type: ignore[typeddict-item]  # one of the three
        "eventSource": "aws:dynamodb",
        "dynamodb": StreamChange(**change),  # type: ignore[typeddict-item]  # put together above
    }


def test_a_subscription_that_is_inserted_live_or_goes_live_is_an_arrival() -> None:
    changes = read_changes(
        [
            record("INSERT", "1", new="live"),
            record("MODIFY", "2", sort="bob#conn", old="replaying", new="live"),
        ]
    )

    assert changes.items == (
        Change("C", "alice", "1", arrived=True),
        Change("C", "bob", "2", arrived=True),
    )


@pytest.mark.parametrize(
    "other",
    [
        record("INSERT", new="replaying"),
        record("MODIFY", old="live", new="live"),
        record("MODIFY", old="live", new="replaying"),
        record("INSERT", channel_id="presence#C", sort="alice", new="live"),
        record("INSERT", channel_id="user#alice", sort="conn", new="live"),
        record("REMOVE", channel_id="conn#conn", sort="-"),
    ],
)
def test_what_is_no_arrival_and_no_departure_is_passed_over(other: StreamRecord) -> None:
    assert read_changes([other]).items == ()


def test_a_user_who_comes_and_goes_in_one_batch_is_one_change_marked_by_the_last_departure() -> (
    None
):
    changes = read_changes(
        [
            record("REMOVE", "1", old="live"),
            record("INSERT", "2", new="live"),
            record("REMOVE", "3", old="live"),
        ]
    )

    assert changes.items == (Change("C", "alice", "1", arrived=True, mark="3"),)


def test_a_record_that_cannot_be_read_spoils_no_other() -> None:
    broken = record("INSERT", new="live")
    broken["dynamodb"]["Keys"] = {"channel_id": {"X": "?"}}
    headless: StreamRecord = {"eventName": "INSERT", "eventSource": "aws:dynamodb"}  # type: ignore[typeddict-item]  # broken

    changes = read_changes([broken, headless, record("INSERT", "2", new="live")])

    assert changes.unreadable == 2
    assert changes.items == (Change("C", "alice", "2", arrived=True),)
