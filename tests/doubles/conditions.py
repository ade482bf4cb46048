"""What a condition says about an item, as DynamoDB decides it."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from commons.dal.interface import AllOf, AnyOf, Compare, Condition, Exists, Item, NotExists

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def holds(condition: Condition, item: Item | None) -> bool:
    """Whether the condition is true of the item; None is the item that is not there."""
    attributes = item or {}
    match condition:
        case Exists(attribute):
            return attribute in attributes
        case NotExists(attribute):
            return attribute not in attributes
        case Compare():
            return condition.attribute in attributes and _compare(
                condition, attributes[condition.attribute]
            )
        case AllOf(conditions):
            return all(holds(part, item) for part in _some(conditions))
        case AnyOf(conditions):
            return any(holds(part, item) for part in _some(conditions))


def _some(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    if not conditions:
        raise ValueError("a combination of no conditions means nothing")
    return conditions


def _compare(condition: Compare, actual: object) -> bool:
    left, right = ordered(actual), ordered(condition.value)
    match condition.operator:
        case "=":
            return left == right
        case "<>":
            return left != right
        case order:
            # Values of different types are in no order.
            return left[0] == right[0] and _ORDER[order](left[1], right[1])


def ordered(value: object) -> tuple[str, Any]:
    """A value with its type, so that 1 is not True; strings sort by their UTF-8 bytes."""
    match value:
        case str():
            return "S", value.encode()
        case bool():
            return "BOOL", value
        case int() | float():
            return "N", value
        case _:
            return type(value).__name__, value
