"""Python values to DynamoDB's typed JSON and back."""

import base64
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from commons.dal.interface import Item, Key
from commons.dal.write_ids import without_write_ids

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

# What a DynamoDB number holds (developer guide, "Data types"): 38 significant digits,
# magnitudes of 1E-130 to 9.99…E+125.
_MAX_DIGITS = 38
_MIN_EXPONENT = -130
_MAX_EXPONENT = 125


def serialize_item(item: Mapping[str, object]) -> "dict[str, AttributeValueTypeDef]":
    """Each attribute of an item (or of a key) as DynamoDB takes it.

    Raises:
        TypeError: a value is of a type that items do not hold.
        ValueError: a number that DynamoDB cannot store exactly, or an empty set.
    """
    return {name: serialize(value) for name, value in item.items()}


def serialize(  # noqa: PLR0911  # one a type
    value: object,
) -> "AttributeValueTypeDef":
    """As `serialize_item`, for one value."""
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int() | float():
            return {"N": _number(value)}
        case None:
            return {"NULL": True}
        case Mapping():
            return {"M": serialize_item(value)}
        case list() | tuple():
            return {"L": [serialize(member) for member in value]}
        case frozenset() | set():
            return {"SS": _string_set(value)}
        case bytes():
            return {"B": value}
    raise TypeError(f"an item holds no {type(value).__name__}")


def _number(value: float) -> str:
    if isinstance(value, int) and abs(value) < 10**_MAX_DIGITS:
        return str(value)
    # str() of a float is its shortest exact spelling: 0.1, not 0.1000000000000000055.
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError("DynamoDB holds finite numbers only")
    if number.is_zero():
        return "0"
    digits = "".join(map(str, number.as_tuple().digits)).rstrip("0")
    if len(digits) > _MAX_DIGITS or not _MIN_EXPONENT <= number.adjusted() <= _MAX_EXPONENT:
        raise ValueError("DynamoDB cannot hold this number exactly")
    return str(number)


def _string_set(members: frozenset[object] | set[object]) -> list[str]:
    if not members:
        raise ValueError("DynamoDB holds no empty set: leave the attribute out")
    strings = [member for member in members if isinstance(member, str)]
    if len(strings) != len(members):
        raise TypeError("an item holds sets of strings only")
    return sorted(strings)


def deserialize(image: Mapping[str, Mapping[str, object]]) -> Item:
    """An item as services see it, from an API answer or from a stream record's image.

    Stream records come as JSON: bytes are base64 text there.
    """
    return without_write_ids(deserialize_stored(image))


def deserialize_stored(image: Mapping[str, Mapping[str, object]]) -> Item:
    """As `deserialize`, with the DAL's own attributes."""
    return {name: _deserialize_value(value) for name, value in image.items()}


def deserialize_key(image: Mapping[str, Mapping[str, object]]) -> Key:
    return cast("Key", deserialize(image))


def _deserialize_value(typed: Mapping[str, object]) -> object:  # noqa: PLR0911  # one a type
    ((kind, value),) = typed.items()
    match kind:
        case "S" | "BOOL":
            return value
        case "N":
            return _to_number(cast("str", value))
        case "NULL":
            return None
        case "M":
            return deserialize_stored(cast("Mapping[str, Mapping[str, object]]", value))
        case "L":
            return [_deserialize_value(v) for v in cast("list[Mapping[str, object]]", value)]
        case "SS":
            return frozenset(cast("list[str]", value))
        case "B":
            return base64.b64decode(value) if isinstance(value, str) else value
    raise TypeError(f"no item of this product holds the DynamoDB type {kind}")


def _to_number(text: str) -> int | float:
    if text.lstrip("-").isdigit():
        return int(text)
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(number)
