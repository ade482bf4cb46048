"""Pages of lists: at most 1 MB of JSON, whatever the items hold."""

from collections.abc import Sequence
from typing import Final

from commons.schemas.base import BaseSchema

MAX_PAGE_BYTES: Final = 1_000_000
"""Of the items' JSON; what is around them stays below the rest of 1 MB."""


def that_fit[Item: BaseSchema](items: Sequence[Item]) -> Sequence[Item]:
    """The first of the items, one at least, up to a page's size."""
    size = 0
    for count, item in enumerate(items):
        size += len(item.to_json().encode()) + 1
        if count and size > MAX_PAGE_BYTES:
            return items[:count]
    return items
