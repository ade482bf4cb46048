"""What a query says it read, by the units that DynamoDB says it billed."""

from dataclasses import replace
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.stub import ANY, Stubber
from tests.doubles.repository import InMemoryRepository

from commons.dal import MESSAGES_INDEX, DynamoDBRepository, Query, Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import QueryOutputTypeDef

CONSISTENT = Query(table=Table.CHAT_EVENTS, partition="c", consistent=True, measured=True)
OF_INDEX = Query(table=Table.CHAT_EVENTS, partition="c", index=MESSAGES_INDEX, measured=True)


@pytest.mark.parametrize(
    ("query", "units", "bytes_read"),
    [(CONSISTENT, 17.0, 69_632), (OF_INDEX, 6.5, 53_248), (OF_INDEX, 0.5, 4_096)],
)
def test_units_are_told_in_bytes(query: Query, units: float, bytes_read: int) -> None:
    client = boto3.client("dynamodb")
    answer: QueryOutputTypeDef = {
        "Items": [],
        "ConsumedCapacity": {"CapacityUnits": units},
    }  # type: ignore[typeddict-item]  # what a query does not look at
    expected = {
        "TableName": "events",
        "KeyConditionExpression": ANY,
        "ScanIndexForward": True,
        "ExpressionAttributeNames": ANY,
        "ExpressionAttributeValues": ANY,
        "ReturnConsumedCapacity": "TOTAL",
    }
    if query.index is None:
        expected["ConsistentRead"] = True
    else:
        expected["IndexName"] = query.index
    with Stubber(client) as dynamodb:
        dynamodb.add_response("query", answer, expected)

        page = DynamoDBRepository({Table.CHAT_EVENTS: "events"}, client=client).query(query)

    assert page.bytes_read == bytes_read


def test_a_projection_and_a_filter_lower_nothing(repository: InMemoryRepository) -> None:
    item = {"channel_id": "c", "seq": 1, "text": "x" * 60_000}
    repository.put(Table.CHAT_EVENTS, dict(item))

    page = repository.query(replace(CONSISTENT, attributes=("seq",)))

    assert page.items == [{"seq": 1}]
    assert 60_000 < page.bytes_read < 65_000
