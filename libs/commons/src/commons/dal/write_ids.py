"""Write ids: how a write that is made again knows itself (docs/adr/0017).

botocore repeats a call whose answer was lost, and so does the DAL with a transaction. Every put and
every update leaves an id in its item and refuses to meet it there; the refusal shows the item, and
whoever finds his own id in it has written already.

A put and updates have attributes of their own: an update that follows does not wipe out the put's
id, and two of the latest updates are known, so that one of somebody else's may come in between.
"""

import secrets
from collections.abc import Mapping
from typing import Final

from commons.dal.interface import Item

PUT_ID: Final = "put_id"
UPDATE_ID: Final = "update_id"
EARLIER_UPDATE_ID: Final = "earlier_update_id"
WRITE_IDS: Final = frozenset({PUT_ID, UPDATE_ID, EARLIER_UPDATE_ID})
"""Attributes of the DAL's own: no caller sees or names them."""


def new_write_id() -> str:
    """72 bits: unique among the few writes that an item remembers."""
    return secrets.token_urlsafe(9)


def wrote(write_id: str, item: Mapping[str, object] | None) -> bool:
    """Whether the item, with its write ids, shows that this write was made."""
    return item is not None and any(item.get(name) == write_id for name in WRITE_IDS)


def without_write_ids(item: Mapping[str, object]) -> Item:
    """The item as callers see it."""
    return {name: value for name, value in item.items() if name not in WRITE_IDS}
