"""What DynamoDB counts an item for, in bytes.

The rules are those of the developer guide, "DynamoDB item sizes and formats".
"""

from collections.abc import Mapping
from math import ceil

READ_UNIT_BYTES = 4 * 1024
WRITE_UNIT_BYTES = 1024

_CONTAINER_BYTES = 3
_MEMBER_BYTES = 1


def item_size(item: Mapping[str, object]) -> int:
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def billed_bytes(size: int) -> int:
    """What a read of so many bytes is billed as, where it is consistent."""
    return max(1, ceil(size / READ_UNIT_BYTES)) * READ_UNIT_BYTES


def _value_size(value: object) -> int:  # noqa: PLR0911  # one a type
    match value:
        case str():
            return len(value.encode())
        case bool() | None:
            return 1
        case int() | float():
            return _number_size(value)
        case Mapping():
            return _CONTAINER_BYTES + item_size(value) + _MEMBER_BYTES * len(value)
        case list():
            return _CONTAINER_BYTES + sum(_value_size(v) + _MEMBER_BYTES for v in value)
        case frozenset():
            return sum(_value_size(member) for member in value)
        case bytes():
            return len(value)
    raise TypeError(f"an item holds no {type(value).__name__}")


def _number_size(number: float) -> int:
    """A byte for two significant digits, one besides, one more where it is negative."""
    digits = f"{abs(number):.38g}" if isinstance(number, int) else repr(abs(number))
    significant = digits.split("e", maxsplit=1)[0].replace(".", "").strip("0")
    return (len(significant) + 1) // 2 + 1 + (number < 0)
