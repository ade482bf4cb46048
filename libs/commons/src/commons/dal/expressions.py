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
        return f"({operator.join(self.condition(condition) for condition in conditions)})"

    def update(self, update: Update) -> str:
        sets = {
            "ADD": {name: members for name, members in update.add_to_set.items() if members},
            "DELETE": {
                name: members for name, members in update.remove_from_set.items() if members
            },
        }
        clauses = {
            "SET": [f"{self._name(n)} = {self._value(v)}" for n, v in update.set.items()],
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
