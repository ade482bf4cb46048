"""Stream records read into who may have come or gone."""

from collections.abc import Iterable
from dataclasses import dataclass

from commons.dal import deserialize
from commons.schemas.lambda_events import StreamRecord


@dataclass(slots=True)
class Change:
    """What a batch says of one user in one channel.

    Attributes:
        sequence_number: of the first record about them.
        arrived: a subscription went live.
        mark: the sequence number of the last record of a subscription that ended.
    """

    channel_id: str
    user_id: str
    sequence_number: str
    arrived: bool = False
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes in the order of the stream; `unreadable` counts records that say nothing."""

    items: tuple[Change, ...]
    unreadable: int


def read_changes(records: Iterable[StreamRecord]) -> Changes:
    found: dict[tuple[str, str], Change] = {}
    unreadable = 0
    for record in records:
        try:
            read = _read(record)
        except (KeyError, TypeError, ValueError, AttributeError):
            unreadable += 1
            continue
        if read is None:
            continue
        change = found.setdefault((read.channel_id, read.user_id), read)
        change.arrived = change.arrived or read.arrived
        change.mark = read.mark or change.mark
    return Changes(tuple(found.values()), unreadable)


def _read(record: StreamRecord) -> Change | None:
    """None for what is no subscription, and for one that was live before."""
    data = record["dynamodb"]
    key = deserialize(data["Keys"])
    channel_id, sort = key["channel_id"], key["sk"]
    if not isinstance(channel_id, str) or not isinstance(sort, str):
        raise TypeError("not a key of connections")
    user_id, separator, _connection_id = sort.partition("#")
    if "#" in channel_id or not separator:
        return None
    number = data["SequenceNumber"]
    if record["eventName"] == "REMOVE":
        return Change(channel_id, user_id, number, mark=number)
    was_live = deserialize(data.get("OldImage", {})).get("state") == "live"
    is_live = deserialize(data["NewImage"]).get("state") == "live"
    return Change(channel_id, user_id, number, arrived=True) if is_live and not was_live else None
