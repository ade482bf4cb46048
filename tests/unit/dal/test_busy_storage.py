"""How the DynamoDB repository meets throttling, other transactions and half-done batches."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.stub import ANY, Stubber

from commons.dal import DynamoDBRepository, NotExists, PutWrite, Query, Table, Update
from commons.dal.dynamodb import MAX_ATTEMPTS
from commons.dynamodb.exceptions import (
    ConditionFailedError,
    RepositoryError,
    StorageBusyError,
    TransactionCanceledError,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY = {"pk": "p", "sk": "s"}
WRITES = [PutWrite(Table.CHANNELS, {**KEY}, NotExists("pk"))]
CONFLICT = {"CancellationReasons": [{"Code": "TransactionConflict"}]}


@pytest.fixture
def client() -> "DynamoDBClient":
    return boto3.client("dynamodb")


@pytest.fixture
def dynamodb(client: "DynamoDBClient") -> Iterator[Stubber]:
    """DynamoDB's answers, said beforehand: neither moto nor the emulator is ever busy."""
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def storage(client: "DynamoDBClient", dynamodb: Stubber, waits: list[float]) -> DynamoDBRepository:
    names = {Table.CHANNELS: "channels"}
    return DynamoDBRepository(names, client=client, sleep=waits.append)


def cancelled(dynamodb: Stubber, reasons: Mapping[str, object]) -> None:
    dynamodb.add_client_error(
        "transact_write_items", "TransactionCanceledException", modeled_fields=dict(reasons)
    )


def test_a_transaction_that_met_another_one_is_tried_again(
    storage: DynamoDBRepository, dynamodb: Stubber, waits: list[float]
) -> None:
    cancelled(dynamodb, CONFLICT)
    cancelled(dynamodb, CONFLICT)
    dynamodb.add_response("transact_write_items", {})

    storage.transact(WRITES)

    assert len(waits) == 2


def test_a_transaction_that_keeps_meeting_others_gives_up(
    storage: DynamoDBRepository, dynamodb: Stubber, waits: list[float]
) -> None:
    for _ in range(MAX_ATTEMPTS):
        cancelled(dynamodb, CONFLICT)

    with pytest.raises(StorageBusyError):
        storage.transact(WRITES)

    assert len(waits) == MAX_ATTEMPTS - 1
    assert all(0 <= wait <= 0.5 for wait in waits)
    assert len(set(waits)) == len(waits)


@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_throttled_transaction_is_tried_again(
    storage: DynamoDBRepository, dynamodb: Stubber, code: str
) -> None:
    cancelled(dynamodb, {"CancellationReasons": [{"Code": code}, {"Code": "TransactionConflict"}]})
    dynamodb.add_response("transact_write_items", {})

    storage.transact(WRITES)


def test_a_transaction_still_in_progress_is_asked_for_again_under_its_own_token(
    storage: DynamoDBRepository, dynamodb: Stubber
) -> None:
    tokens: list[object] = []
    dynamodb.client.meta.events.register(
        "provide-client-params.dynamodb.TransactWriteItems",
        lambda params, **_: tokens.append(params["ClientRequestToken"]),
    )
    dynamodb.add_client_error("transact_write_items", "TransactionInProgressException")
    cancelled(dynamodb, CONFLICT)
    dynamodb.add_response("transact_write_items", {})

    storage.transact(WRITES)

    first, again, anew = tokens
    assert first == again
    assert anew != again


def test_a_false_condition_is_final_even_beside_a_conflict(
    storage: DynamoDBRepository, dynamodb: Stubber
) -> None:
    reasons = [
        {"Code": "TransactionConflict"},
        {"Code": "ConditionalCheckFailed", "Item": {"pk": {"S": "p"}, "n": {"N": "1"}}},
    ]
    cancelled(dynamodb, {"CancellationReasons": reasons})

    with pytest.raises(TransactionCanceledError) as raised:
        storage.transact(WRITES)

    assert [reason.code for reason in raised.value.reasons] == [
        "TransactionConflict",
        "ConditionalCheckFailed",
    ]
    assert raised.value.reasons[1].item == {"pk": "p", "n": 1}


def test_a_transaction_refused_for_another_reason_is_not_tried_again(
    storage: DynamoDBRepository, dynamodb: Stubber
) -> None:
    cancelled(dynamodb, {"CancellationReasons": [{"Code": "ValidationError"}]})

    with pytest.raises(RepositoryError, match="ValidationError") as raised:
        storage.transact(WRITES)

    assert not isinstance(raised.value, StorageBusyError | TransactionCanceledError)


@pytest.mark.parametrize("write", ["put_item", "update_item", "delete_item"])
def test_a_write_that_met_a_transaction_is_tried_again(
    storage: DynamoDBRepository, dynamodb: Stubber, waits: list[float], write: str
) -> None:
    dynamodb.add_client_error(write, "TransactionConflictException")
    image = {"pk": {"S": "p"}, "sk": {"S": "s"}}
    dynamodb.add_response(write, {} if write == "put_item" else {"Attributes": image})

    match write:
        case "put_item":
            storage.put(Table.CHANNELS, {**KEY})
        case "update_item":
            assert storage.update(Table.CHANNELS, KEY, Update(set={"a": 1})) == KEY
        case _:
            storage.delete(Table.CHANNELS, KEY)

    assert len(waits) == 1


def test_a_write_that_keeps_meeting_transactions_gives_up(
    storage: DynamoDBRepository, dynamodb: Stubber
) -> None:
    for _ in range(MAX_ATTEMPTS):
        dynamodb.add_client_error("put_item", "TransactionConflictException")

    with pytest.raises(StorageBusyError):
        storage.put(Table.CHANNELS, {**KEY})


@pytest.mark.parametrize(
    "code",
    ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"],
)
def test_throttling_says_that_storage_is_busy(
    storage: DynamoDBRepository, dynamodb: Stubber, code: str
) -> None:
    for operation in ("get_item", "put_item", "query", "batch_get_item", "transact_write_items"):
        dynamodb.add_client_error(operation, code)

    with pytest.raises(StorageBusyError):
        storage.find(Table.CHANNELS, KEY)
    with pytest.raises(StorageBusyError):
        storage.put(Table.CHANNELS, {**KEY})
    with pytest.raises(StorageBusyError):
        storage.query(Query(table=Table.CHANNELS, partition="p"))
    with pytest.raises(StorageBusyError):
        storage.batch_get(Table.CHANNELS, [KEY])
    with pytest.raises(StorageBusyError):
        storage.transact(WRITES)


def test_any_other_refusal_is_an_error_that_does_not_say_what_was_written(
    storage: DynamoDBRepository, dynamodb: Stubber
) -> None:
    dynamodb.add_client_error("put_item", "ValidationException", "secret text")

    with pytest.raises(RepositoryError, match="ValidationException") as raised:
        storage.put(Table.CHANNELS, {**KEY})

    assert "secret" not in str(raised.value)
    assert not isinstance(raised.value, StorageBusyError | ConditionFailedError)


def test_what_a_batch_left_undone_is_asked_for_again(
    storage: DynamoDBRepository, dynamodb: Stubber, waits: list[float]
) -> None:
    keys = [{"pk": "p", "sk": str(number)} for number in range(3)]
    images = [{name: {"S": value} for name, value in key.items()} for key in keys]
    dynamodb.add_response(
        "batch_get_item",
        {
            "Responses": {"channels": images[:1]},
            "UnprocessedKeys": {"channels": {"Keys": images[1:], "ConsistentRead": True}},
        },
    )
    dynamodb.add_response(
        "batch_get_item",
        {"Responses": {"channels": images[1:]}, "UnprocessedKeys": {}},
        {"RequestItems": {"channels": {"Keys": images[1:], "ConsistentRead": True}}},
    )

    assert storage.batch_get(Table.CHANNELS, keys, consistent=True) == keys
    assert len(waits) == 1


def test_a_batch_that_makes_no_headway_gives_up(
    storage: DynamoDBRepository, dynamodb: Stubber, waits: list[float]
) -> None:
    image = {name: {"S": value} for name, value in KEY.items()}
    for _ in range(MAX_ATTEMPTS):
        dynamodb.add_response(
            "batch_get_item",
            {"Responses": {}, "UnprocessedKeys": {"channels": {"Keys": [image]}}},
        )

    with pytest.raises(StorageBusyError):
        storage.batch_get(Table.CHANNELS, [KEY])

    assert len(waits) == MAX_ATTEMPTS - 1


def test_deletions_that_a_batch_left_undone_are_made_again(
    storage: DynamoDBRepository, dynamodb: Stubber
) -> None:
    request = {"DeleteRequest": {"Key": {name: {"S": value} for name, value in KEY.items()}}}
    dynamodb.add_response("batch_write_item", {"UnprocessedItems": {"channels": [request]}})
    dynamodb.add_response(
        "batch_write_item", {"UnprocessedItems": {}}, {"RequestItems": {"channels": [request]}}
    )

    storage.batch_delete(Table.CHANNELS, [KEY])


def test_every_conditional_write_asks_for_the_item_that_is_there(
    storage: DynamoDBRepository, dynamodb: Stubber
) -> None:
    dynamodb.add_response(
        "put_item",
        {},
        {
            "TableName": "channels",
            "Item": ANY,
            "ConditionExpression": "attribute_not_exists(#n0) AND NOT #n1 = :v0",
            "ExpressionAttributeNames": {"#n0": "pk", "#n1": "put_id"},
            "ExpressionAttributeValues": ANY,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        },
    )

    storage.put(Table.CHANNELS, {**KEY}, condition=NotExists("pk"))


def test_a_table_the_function_was_not_given_is_named_in_the_error(
    storage: DynamoDBRepository,
) -> None:
    with pytest.raises(RepositoryError, match="CONNECTIONS_TABLE"):
        storage.find(Table.CONNECTIONS, {"channel_id": "c", "sk": "-"})


def test_table_names_come_from_the_environment(
    client: "DynamoDBClient", dynamodb: Stubber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANNELS_TABLE", "chat-dev-channels")
    dynamodb.add_response(
        "get_item", {}, {"TableName": "chat-dev-channels", "Key": ANY, "ConsistentRead": False}
    )
    storage = DynamoDBRepository(client=client)

    assert storage.find(Table.CHANNELS, KEY) is None
    with pytest.raises(RepositoryError, match="CHAT_EVENTS_TABLE"):
        storage.find(Table.CHAT_EVENTS, {"channel_id": "c", "seq": 1})
