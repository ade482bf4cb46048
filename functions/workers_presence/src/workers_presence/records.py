"""Stream records read into checks of who may have come or gone, or typed more than was told."""

from collections.abc import Iterable
from dataclasses import dataclass

from commons import keys
from commons.dal import deserialize
from commons.records.connection import NOBODY, Subscription
from commons.schemas.lambda_events import StreamRecord
from workers_presence.schemas import ChannelUser, Check


@dataclass(frozen=True, slots=True)
class Change:
    """A check, and the sequence number of the first record that asks for it."""

    check: Check
    sequence_number: str


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes in the order of the stream; `unreadable` counts records that say nothing."""

    items: tuple[Change, ...]
    unreadable: int


def read_changes(records: Iterable[StreamRecord]) -> Changes:
    """Of each user in a channel one of a kind at most; of departures it is the last."""
    found: dict[tuple[ChannelUser, str, bool], Change] = {}
    unreadable = 0
    for record in records:
        try:
            check = _read(record)
        except (KeyError, TypeError, ValueError, AttributeError):
            unreadable += 1
            continue
        if check is not None:
            kind = check.user, check.about, check.mark is None
            number = (
                found[kind].sequence_number
                if kind in found
                else record["dynamodb"]["SequenceNumber"]
            )
            found[kind] = Change(check, number)
    return Changes(tuple(found.values()), unreadable)


def _read(record: StreamRecord) -> Check | None:
    """None for what is neither a subscription nor typing, and for what was so before.

    The rows about a room look like subscriptions of nobody.
    """
    data = record["dynamodb"]
    has_ended = record["eventName"] == "REMOVE"
    image = deserialize(data["OldImage"] if has_ended else data["NewImage"])
    before = deserialize(data.get("OldImage", {}))
    if "wanted" in image and not has_ended:
        channel_id, user_id = keys.typing_of(image)
        check = Check(channel_id=channel_id, user_id=user_id, about="typing")
        return None if "wanted" in before else check
    if "state" not in image or image["user_id"] == NOBODY:
        return None
    row = Subscription.model_validate(image)
    was_live = before.get("state") == "live"
    if not has_ended and (was_live or row.state != "live"):
        return None
    return Check(
        channel_id=row.channel_id,
        user_id=row.user_id,
        mark=data["SequenceNumber"] if has_ended else None,
    )
