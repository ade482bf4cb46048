"""Events as the chat_events table holds them."""

import json
from collections.abc import Mapping
from typing import cast

from commons import keys
from commons.dal.interface import Item
from commons.schemas.event import (
    EVENT_TYPES,
    Event,
    EventData,
    Sender,
    UnknownEvent,
    event_class_of,
)
from commons.schemas.open import OpenSchema, as_on_the_wire


def event_from_item(item: Mapping[str, object]) -> Event:
    """The event that an item holds.

    What a newer writer added to `data` is part of it; what it added beside `data` is ignored.

    Raises:
        ValueError: it holds none, or one that its type does not allow.
        KeyError: likewise.
    """
    stored = cast("Mapping[str, object]", item["data"])
    event: dict[str, object] = {name: item[name] for name in ("channel_id", "seq", "created_at")}
    event["sender"] = {
        "id": item["sender_id"],
        "name": item.get("sender_name"),
        "kind": item["sender_kind"],
    }
    event["client_message_id"] = item.get("client_message_id")
    known = EVENT_TYPES.get(cast("str", item["type"]))
    if known is None:
        data = as_on_the_wire(stored)
        return UnknownEvent.model_validate({**event, "type": item["type"], "data": data})
    return known.model_validate({**event, "data": stored})


def stored_data(data: OpenSchema) -> Item:
    """`data` as an item holds it."""
    stored: Item = data.model_dump(by_alias=False, exclude_none=True)
    for name in type(data).model_fields:
        part = getattr(data, name)
        if isinstance(part, OpenSchema):
            stored[name] = stored_data(part)
    for name, attribute in data.json_text.items():
        if name in stored:
            text = json.dumps(stored.pop(name), ensure_ascii=False, separators=(",", ":"))
            stored[attribute] = text
    return stored


def event_item(
    channel_id: str,
    seq: int,
    *,
    sender: Sender,
    data: EventData,
    created_at: str,
    client_message_id: str | None = None,
) -> Item:
    """The item of a new event."""
    event_type = event_class_of(data).model_fields["type"].default
    item: Item = {
        **keys.event_key(channel_id, seq),
        "type": event_type,
        "created_at": created_at,
        "sender_id": sender.id,
        "sender_kind": sender.kind,
        "data": stored_data(data),
    }
    if sender.name is not None:
        item["sender_name"] = sender.name
    if client_message_id is not None:
        item["client_message_id"] = client_message_id
    if event_type == "message.created":
        item["message_seq"] = seq
    return item


def seal_item(channel_id: str, seq: int, *, created_at: str) -> Item:
    """What stands after `channel.deleted`: no event, and in the way of any (docs/adr/0020).

    It has no type, by which readers and the streams' filters pass it over.
    """
    return {**keys.event_key(channel_id, seq), "sealed": True, "created_at": created_at}


def is_event(item: Mapping[str, object]) -> bool:
    """False for the seal, and for what else the table holds: markers, states."""
    return "type" in item


def closes(item: Mapping[str, object]) -> bool:
    """Whether nothing may be appended after the item."""
    return not is_event(item) or item["type"] == "channel.deleted"
