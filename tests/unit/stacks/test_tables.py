"""The tables of the data stack are those that the repository speaks to."""

from typing import Any

import pytest
from tools.templates import Template

from commons.dal.interface import INDEX_ATTRIBUTES, INDEX_KEYS, TABLE_KEYS, Table, TableKey


@pytest.fixture
def tables(templates: dict[str, Template]) -> dict[str, dict[str, Any]]:
    """The tables' properties, by the name that follows the stage."""
    return {
        each["Properties"]["TableName"]["Fn::Sub"].removeprefix("chat-${Stage}-"): each[
            "Properties"
        ]
        for each in templates["data"].of_type("AWS::DynamoDB::Table").values()
    }


def key_of(schema: list[dict[str, str]]) -> TableKey:
    attributes = {each["KeyType"]: each["AttributeName"] for each in schema}
    return TableKey(attributes["HASH"], attributes["RANGE"])


def test_each_table_has_the_key_that_the_repository_uses(tables: dict[str, dict[str, Any]]) -> None:
    keys = {name: key_of(each["KeySchema"]) for name, each in tables.items()}
    assert keys == {str(table): key for table, key in TABLE_KEYS.items()}


def test_each_index_has_the_key_that_the_repository_uses(tables: dict[str, dict[str, Any]]) -> None:
    keys = {
        (Table(name), index["IndexName"]): key_of(index["KeySchema"])
        for name, each in tables.items()
        for index in each.get("GlobalSecondaryIndexes", [])
    }
    assert keys == dict(INDEX_KEYS)


def test_each_index_holds_what_the_repository_reads_of_it(
    tables: dict[str, dict[str, Any]],
) -> None:
    projected = {
        (Table(name), index["IndexName"]): frozenset(index["Projection"]["NonKeyAttributes"])
        for name, each in tables.items()
        for index in each.get("GlobalSecondaryIndexes", [])
    }
    assert projected == dict(INDEX_ATTRIBUTES)


def test_a_table_survives_mistakes(tables: dict[str, dict[str, Any]]) -> None:
    for each in tables.values():
        assert each["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert each["DeletionProtectionEnabled"] == {"Ref": "ProtectData"}
        assert each["SSESpecification"]["SSEEnabled"] is True


def test_a_table_costs_what_is_used_and_forgets_by_ttl(tables: dict[str, dict[str, Any]]) -> None:
    for each in tables.values():
        assert each["BillingMode"] == "PAY_PER_REQUEST"
        assert each["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}


def test_a_stream_shows_what_was_and_what_is(tables: dict[str, dict[str, Any]]) -> None:
    for each in tables.values():
        assert each["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
