"""What a writer sees whose write was made, but whose answer was lost on the way."""

from typing import TYPE_CHECKING

import pytest

from commons.dal import DynamoDBRepository, Item, NotExists, Table, Update
from commons.dynamodb.exceptions import ConditionFailedError
from commons.keys import channel_key, event_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def lose_first_answer(client: "DynamoDBClient", operation: str) -> None:
    """botocore repeats the call as it does after a time-out; the first one had arrived."""
    delays: list[float | None] = [None, 0]
    client.meta.events.register_first(
        f"needs-retry.dynamodb.{operation}",
        lambda **_: delays.pop() if delays else None,  # type: ignore[arg-type]  # it may answer
    )


def test_a_conditional_put_fails_against_its_own_item(
    moto_repository: DynamoDBRepository, dynamodb: "DynamoDBClient"
) -> None:
    lose_first_answer(dynamodb, "PutItem")
    item: Item = {**event_key("c", 1), "write_id": "own"}

    with pytest.raises(ConditionFailedError) as raised:
        moto_repository.put(Table.CHAT_EVENTS, item, condition=NotExists("channel_id"))

    assert raised.value.item == item


def test_an_increment_is_made_twice(
    moto_repository: DynamoDBRepository, dynamodb: "DynamoDBClient"
) -> None:
    lose_first_answer(dynamodb, "UpdateItem")

    moto_repository.update(Table.CHANNELS, channel_key("c"), Update(add={"members": 1}))

    assert moto_repository.get(Table.CHANNELS, channel_key("c"))["members"] == 2
