"""DynamoDB's expressions from the interface's conditions, updates and queries.

Every name and every value goes in as a placeholder: an attribute may be called `name` or `data`
(reserved words), and no value is ever read as part of an expression.
"""

from typing import TYPE_CHECKING

from commons.dal.interface import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Exists,
    NotExists,
    SortBetween,
    SortPrefix,
    TableKey,
    Update,
)
from commons.dal.serialisation import serialize
from commons.dal.write_ids import EARLIER_UPDATE_ID, PUT_ID, UPDATE_ID

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


class Expressions:
    """Collects the placeholders of the expressions of one request."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, AttributeValueTypeDef] = {}
        self._placeholders: dict[str, str] = {}

    def condition(self, condition: Condition) -> str:
        match condition:
            case Exists(attribute):
                return f"attribute_exists({self._name(attribute)})"
            case NotExists(attribute):
                return f"attribute_not_exists({self._name(attribute)})"
            case Compare(attribute, "<>", value):
                # DynamoDB holds `<>` for true where the attribute is absent.
                name = self._name(attribute)
                return f"(attribute_exists({name}) AND {name} <> {self._value(value)})"
            case Compare(attribute, operator, value):
                return f"{self._name(attribute)} {operator} {self._value(value)}"
            case AllOf(conditions):
                return self._joined(" AND ", conditions)
            case AnyOf(conditions):
                return self._joined(" OR ", conditions)

    def _joined(self, operator: str, conditions: tuple[Condition, ...]) -> str:
        if not conditions:
            raise ValueError("a combination of no conditions means nothing")
        parts = [self.condition(condition) for condition in conditions]
        # DynamoDB refuses parentheses around parentheses.
        return parts[0] if len(parts) == 1 else f"({operator.join(parts)})"

    def unless_put(self, write_id: str, condition: Condition | None) -> str:
        """The condition, and that this put has not been made."""
        return self._unless(write_id, (PUT_ID,), condition)

    def unless_updated(self, write_id: str, condition: Condition | None) -> str:
        """The condition, and that this update has not been made."""
        return self._unless(write_id, (UPDATE_ID, EARLIER_UPDATE_ID), condition)

    def _unless(
        self, write_id: str, attributes: tuple[str, ...], condition: Condition | None
    ) -> str:
        asked = [] if condition is None else [self.condition(condition)]
        # `NOT … =` is true of an attribute that is absent.
        made = [f"NOT {self._name(each)} = {self._value(write_id)}" for each in attributes]
        return " AND ".join([*asked, *made])

    def update(self, update: Update, write_id: str) -> str:
        """The update; the item remembers this one and the one before."""
        latest, own = self._name(UPDATE_ID), self._value(write_id)
        remembered = [
            f"{self._name(EARLIER_UPDATE_ID)} = if_not_exists({latest}, {own})",
            f"{latest} = {own}",
        ]
        sets = {
            "ADD": {name: members for name, members in update.add_to_set.items() if members},
            "DELETE": {
                name: members for name, members in update.remove_from_set.items() if members
            },
        }
        clauses = {
            "SET": [
                *(f"{self._name(n)} = {self._value(v)}" for n, v in update.set.items()),
                *remembered,
            ],
            "ADD": [
                f"{self._name(n)} {self._value(v)}"
                for changes in (update.add, sets["ADD"])
                for n, v in changes.items()
            ],
            "REMOVE": [self._name(name) for name in update.remove],
            "DELETE": [f"{self._name(n)} {self._value(v)}" for n, v in sets["DELETE"].items()],
        }
        filled = [f"{verb} {', '.join(changes)}" for verb, changes in clauses.items() if changes]
        return " ".join(filled)

    def key_condition(
        self, key: TableKey, partition: str, sort: SortBetween | SortPrefix | None
    ) -> str:
        expression = f"{self._name(key.partition)} = {self._value(partition)}"
        match sort:
            case None | SortBetween(None, None):
                return expression
            case SortBetween(low, None):
                return f"{expression} AND {self._name(key.sort)} >= {self._value(low)}"
            case SortBetween(None, high):
                return f"{expression} AND {self._name(key.sort)} <= {self._value(high)}"
            case SortBetween(low, high):
                name = self._name(key.sort)
                bounds = f"{self._value(low)} AND {self._value(high)}"
                return f"{expression} AND {name} BETWEEN {bounds}"
            case SortPrefix(prefix):
                return (
                    f"{expression} AND begins_with({self._name(key.sort)}, {self._value(prefix)})"
                )

    def projection(self, attributes: tuple[str, ...]) -> str:
        return ", ".join(self._name(attribute) for attribute in attributes)

    def _name(self, attribute: str) -> str:
        placeholder = self._placeholders.get(attribute)
        if placeholder is None:
            placeholder = f"#n{len(self._placeholders)}"
            self._placeholders[attribute] = placeholder
            self.names[placeholder] = attribute
        return placeholder

    def _value(self, value: object) -> str:
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = serialize(value)
        return placeholder
