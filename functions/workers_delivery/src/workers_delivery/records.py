"""Stream records read into events; one that cannot be read spoils no other."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from commons.dal import Item, deserialize
from commons.records.event import event_from_item, is_event
from commons.schemas.event import Event
from commons.schemas.lambda_events import StreamRecord
from workers_delivery.schemas import ParkedRange


@dataclass(slots=True)
class Batch:
    """What the records of a batch say.

    Attributes:
        events: by channel and number; a record that came twice counts once.
        malformed: events that could not be read.
        sequence_numbers: where each event stands in the stream, in the batch's order.
        correlation_ids: of the requests that appended the events.
        unidentified: records that do not even say which event they are of.
    """

    events: dict[str, dict[int, Event]] = field(default_factory=lambda: defaultdict(dict))
    malformed: list[ParkedRange] = field(default_factory=list)
    sequence_numbers: dict[tuple[str, int], str] = field(default_factory=dict)
    correlation_ids: set[str] = field(default_factory=set)
    unidentified: int = 0


def read_batch(records: Iterable[StreamRecord]) -> Batch:
    batch = Batch()
    for record in records:
        if record.get("eventName") != "INSERT":
            continue
        try:
            key = _event_key(deserialize(record["dynamodb"]["Keys"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            batch.unidentified += 1
            continue
        if key is not None:
            _add(batch, record, *key)
    return batch


def _event_key(item: Item) -> tuple[str, int] | None:
    """None for a marker or a message's state, whose partitions hold a `#`."""
    channel_id, seq = item["channel_id"], item["seq"]
    if not isinstance(channel_id, str) or not isinstance(seq, int):
        raise TypeError("not a key of chat_events")
    return None if "#" in channel_id else (channel_id, seq)


def _add(batch: Batch, record: StreamRecord, channel_id: str, seq: int) -> None:
    batch.sequence_numbers.setdefault((channel_id, seq), record["dynamodb"]["SequenceNumber"])
    try:
        image = deserialize(record["dynamodb"]["NewImage"])
        if not is_event(image):
            return
        event = event_from_item(image)
    except (KeyError, TypeError, ValueError, AttributeError):
        batch.malformed.append(
            ParkedRange(channel_id=channel_id, from_seq=seq, to_seq=seq, reason="malformed")
        )
        return
    batch.events[channel_id][seq] = event
    correlation_id = image.get("correlation_id")
    if isinstance(correlation_id, str):
        batch.correlation_ids.add(correlation_id)
