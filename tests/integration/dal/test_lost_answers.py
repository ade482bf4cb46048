"""What a writer sees whose write was made, but whose answer was lost on the way.

DynamoDBRepository runs on moto, which does not know a repeated transaction by its token: there only
the write ids tell. botocore itself repeats the calls.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import pytest
from tests.doubles.faults import NEVER, RepeatingRepository

from commons.dal import (
    Compare,
    Condition,
    ConditionCheck,
    DeleteWrite,
    DynamoDBRepository,
    Exists,
    IRepository,
    Item,
    NotExists,
    PutWrite,
    Query,
    Table,
    Update,
    UpdateWrite,
    Write,
)
from commons.dynamodb.exceptions import ConditionFailedError, TransactionCanceledError
from commons.keys import channel_key, channel_partition, member_key

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY = channel_key("c")
OTHER_KEY = member_key("c", "alice")
WRITE_IDS = {"put_id", "update_id", "earlier_update_id"}


class LosesAnswers(Protocol):
    """Storage, and a way to lose the answer of its next write."""

    @property
    def storage(self) -> IRepository: ...

    def lose_next_answer(self, meanwhile: Callable[[], None] | None = None) -> None:
        """`meanwhile` runs after the write was made and before it is made again."""
        ...


class InMemory:
    def __init__(self) -> None:
        self.storage = RepeatingRepository(at_write=NEVER)

    def lose_next_answer(self, meanwhile: Callable[[], None] | None = None) -> None:
        self.storage.arm(1, meanwhile)


class OnDynamoDB:
    """botocore repeats the call as it does after a time-out; the first one had arrived."""

    def __init__(self, storage: DynamoDBRepository, client: "DynamoDBClient") -> None:
        self.storage = storage
        self._client = client

    def lose_next_answer(self, meanwhile: Callable[[], None] | None = None) -> None:
        pending = [meanwhile]

        def repeat(**_: object) -> float | None:
            if not pending:
                return None
            if (others := pending.pop()) is not None:
                others()
            return 0

        for operation in ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"):
            self._client.meta.events.register_first(
                f"needs-retry.dynamodb.{operation}",
                repeat,  # type: ignore[arg-type]  # it may answer
            )


@pytest.fixture(params=["memory", "dynamodb"])
def losing(request: pytest.FixtureRequest) -> LosesAnswers:
    if request.param == "memory":
        return InMemory()
    return OnDynamoDB(
        request.getfixturevalue("moto_repository"), request.getfixturevalue("dynamodb")
    )


CONDITIONS: list[Condition | None] = [None, NotExists("pk")]


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_a_put_made_again_succeeds(losing: LosesAnswers, condition: Condition | None) -> None:
    losing.lose_next_answer()

    losing.storage.put(Table.CHANNELS, {**KEY, "name": "n"}, condition=condition)

    assert losing.storage.get(Table.CHANNELS, KEY) == {**KEY, "name": "n"}


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_a_put_made_again_succeeds_although_others_changed_the_item_and_leaves_their_change(
    losing: LosesAnswers, condition: Condition | None
) -> None:
    def change() -> None:
        for number in range(5):
            losing.storage.update(Table.CHANNELS, KEY, Update(set={"name": f"new {number}"}))

    losing.lose_next_answer(change)

    losing.storage.put(Table.CHANNELS, {**KEY, "name": "n"}, condition=condition)

    assert losing.storage.get(Table.CHANNELS, KEY)["name"] == "new 4"


def test_somebody_elses_put_is_not_taken_for_ones_own(losing: LosesAnswers) -> None:
    losing.storage.put(Table.CHANNELS, {**KEY, "name": "theirs"})
    losing.lose_next_answer()

    with pytest.raises(ConditionFailedError) as raised:
        losing.storage.put(Table.CHANNELS, {**KEY, "name": "own"}, condition=NotExists("pk"))

    assert raised.value.item == {**KEY, "name": "theirs"}


@pytest.mark.parametrize(
    "condition", [None, Compare("count", "=", 1), Compare("count", "<", 10)], ids=str
)
def test_an_update_made_again_takes_effect_once_and_returns_the_item(
    losing: LosesAnswers, condition: Condition | None
) -> None:
    losing.storage.put(Table.CHANNELS, {**KEY, "count": 1})
    losing.lose_next_answer()

    item = losing.storage.update(Table.CHANNELS, KEY, Update(add={"count": 1}), condition=condition)

    assert item == {**KEY, "count": 2}
    assert losing.storage.get(Table.CHANNELS, KEY) == item


def test_an_update_that_makes_its_item_and_is_made_again_takes_effect_once(
    losing: LosesAnswers,
) -> None:
    losing.lose_next_answer()

    assert losing.storage.update(Table.CHANNELS, KEY, Update(add={"count": 1})) == {
        **KEY,
        "count": 1,
    }


@pytest.mark.parametrize("condition", [None, Compare("count", "=", 1)], ids=str)
def test_an_update_made_again_after_somebody_elses_leaves_that_as_it_is(
    losing: LosesAnswers, condition: Condition | None
) -> None:
    losing.storage.put(Table.CHANNELS, {**KEY, "count": 1})

    def change() -> None:
        losing.storage.update(Table.CHANNELS, KEY, Update(set={"count": 7}))

    losing.lose_next_answer(change)

    item = losing.storage.update(Table.CHANNELS, KEY, Update(set={"count": 2}), condition=condition)

    assert item == losing.storage.get(Table.CHANNELS, KEY) == {**KEY, "count": 7}


def test_an_update_of_an_item_that_is_replaced_meanwhile_is_judged_anew(
    losing: LosesAnswers,
) -> None:
    losing.storage.put(Table.CHANNELS, {**KEY, "count": 1})

    def replace() -> None:
        losing.storage.put(Table.CHANNELS, {**KEY, "count": 9})

    losing.lose_next_answer(replace)

    with pytest.raises(ConditionFailedError) as raised:
        losing.storage.update(
            Table.CHANNELS, KEY, Update(set={"count": 2}), condition=Compare("count", "=", 1)
        )

    assert raised.value.item == {**KEY, "count": 9}


TRANSACTIONS: dict[str, Sequence[Write]] = {
    "a put and an increment": [
        PutWrite(Table.CHANNELS, {**OTHER_KEY, "role": "owner"}, NotExists("pk")),
        UpdateWrite(Table.CHANNELS, KEY, Update(add={"count": 1}), Compare("count", "<", 9)),
    ],
    "an increment and a deletion": [
        UpdateWrite(Table.CHANNELS, KEY, Update(add={"count": 1})),
        DeleteWrite(Table.CONNECTIONS, {"channel_id": "c", "sk": "s"}, Exists("channel_id")),
    ],
    "an unconditional put and a check": [
        PutWrite(Table.CHANNELS, {**KEY, "count": 2}),
        ConditionCheck(Table.CHANNELS, OTHER_KEY, NotExists("pk")),
    ],
}


@pytest.mark.parametrize("writes", TRANSACTIONS.values(), ids=TRANSACTIONS)
def test_a_transaction_made_again_takes_effect_once_and_succeeds(
    losing: LosesAnswers, writes: Sequence[Write]
) -> None:
    losing.storage.put(Table.CHANNELS, {**KEY, "count": 1})
    losing.storage.put(Table.CONNECTIONS, {"channel_id": "c", "sk": "s"})
    losing.lose_next_answer()

    losing.storage.transact(writes)

    assert losing.storage.get(Table.CHANNELS, KEY)["count"] == 2


def test_a_transaction_made_again_succeeds_although_others_changed_its_items(
    losing: LosesAnswers,
) -> None:
    losing.storage.put(Table.CHANNELS, {**KEY, "count": 1})

    def change() -> None:
        losing.storage.update(Table.CHANNELS, OTHER_KEY, Update(set={"role": "member"}))
        losing.storage.update(Table.CHANNELS, KEY, Update(add={"count": 1}))

    losing.lose_next_answer(change)

    losing.storage.transact(TRANSACTIONS["a put and an increment"])

    assert losing.storage.get(Table.CHANNELS, KEY)["count"] == 3
    assert losing.storage.get(Table.CHANNELS, OTHER_KEY)["role"] == "member"


def test_a_transaction_that_somebody_else_made_is_not_taken_for_ones_own(
    losing: LosesAnswers,
) -> None:
    losing.storage.put(Table.CHANNELS, {**KEY, "count": 1})
    losing.storage.put(Table.CHANNELS, {**OTHER_KEY, "role": "member"})
    losing.lose_next_answer()

    with pytest.raises(TransactionCanceledError) as raised:
        losing.storage.transact(TRANSACTIONS["a put and an increment"])

    assert [reason.item for reason in raised.value.reasons] == [
        {**OTHER_KEY, "role": "member"},
        None,
    ]
    assert losing.storage.get(Table.CHANNELS, KEY)["count"] == 1


def test_an_unconditional_deletion_made_again_succeeds(losing: LosesAnswers) -> None:
    losing.storage.put(Table.CHANNELS, {**KEY})
    losing.lose_next_answer()

    losing.storage.delete(Table.CHANNELS, KEY)

    assert losing.storage.find(Table.CHANNELS, KEY) is None


def test_a_conditional_deletion_is_a_transaction_that_dynamodb_knows_by_its_token(
    moto_repository: DynamoDBRepository, dynamodb: "DynamoDBClient"
) -> None:
    tokens: list[str] = []

    def keep(params: dict[str, str], **_: object) -> None:
        tokens.append(params["ClientRequestToken"])

    dynamodb.meta.events.register("provide-client-params.dynamodb.TransactWriteItems", keep)
    moto_repository.put(Table.CHANNELS, {**KEY})

    moto_repository.delete(Table.CHANNELS, KEY, condition=Exists("pk"))

    assert len(tokens) == 1
    assert moto_repository.find(Table.CHANNELS, KEY) is None


# -- write ids are the DAL's own


def answers(storage: IRepository) -> Iterator[Item | None]:
    """Every answer that holds an item."""
    yield storage.get(Table.CHANNELS, KEY)
    yield storage.find(Table.CHANNELS, KEY, consistent=True)
    yield from storage.batch_get(Table.CHANNELS, [KEY])
    query = Query(table=Table.CHANNELS, partition=channel_partition("c"))
    yield from storage.query(query).items
    yield from storage.iterate(query)
    yield storage.update(Table.CHANNELS, KEY, Update(set={"a": 1}))
    for refused in (
        lambda: storage.put(Table.CHANNELS, {**KEY}, condition=NotExists("pk")),
        lambda: storage.update(
            Table.CHANNELS, KEY, Update(set={"a": 1}), condition=NotExists("pk")
        ),
        lambda: storage.delete(Table.CHANNELS, KEY, condition=NotExists("pk")),
    ):
        with pytest.raises(ConditionFailedError) as raised:
            refused()
        yield raised.value.item
    with pytest.raises(TransactionCanceledError) as cancelled:
        storage.transact([ConditionCheck(Table.CHANNELS, KEY, NotExists("pk"))])
    yield cancelled.value.reasons[0].item


def test_no_answer_shows_a_write_id(storage: IRepository) -> None:
    storage.put(Table.CHANNELS, {**KEY})
    storage.update(Table.CHANNELS, KEY, Update(set={"a": 1}))

    shown = list(answers(storage))

    assert len(shown) == 10
    for item in shown:
        assert item is not None
        assert WRITE_IDS.isdisjoint(item)


def test_what_is_stored_has_the_id_of_its_put_and_of_its_last_two_updates(
    moto_repository: DynamoDBRepository,
    dynamodb: "DynamoDBClient",
    table_names: dict[Table, str],
) -> None:
    def ids() -> dict[str, object]:
        stored = dynamodb.get_item(
            TableName=table_names[Table.CHANNELS],
            Key={name: {"S": str(value)} for name, value in KEY.items()},
        )["Item"]
        return {name: stored[name] for name in WRITE_IDS & stored.keys()}

    moto_repository.put(Table.CHANNELS, {**KEY})
    put = ids()
    moto_repository.update(Table.CHANNELS, KEY, Update(set={"a": 1}))
    first = ids()
    moto_repository.update(Table.CHANNELS, KEY, Update(set={"a": 2}))
    second = ids()

    assert set(put) == {"put_id"}
    assert second["put_id"] == first["put_id"] == put["put_id"]
    assert second["earlier_update_id"] == first["update_id"] != second["update_id"]


@pytest.mark.parametrize("name", sorted(WRITE_IDS))
def test_a_caller_that_names_a_write_id_is_refused(storage: IRepository, name: str) -> None:
    with pytest.raises(ValueError, match="own"):
        storage.put(Table.CHANNELS, {**KEY, name: "x"})
    with pytest.raises(ValueError, match="own"):
        storage.update(Table.CHANNELS, KEY, Update(set={name: "x"}))
    with pytest.raises(ValueError, match="own"):
        storage.transact([PutWrite(Table.CHANNELS, {**KEY, name: "x"})])
