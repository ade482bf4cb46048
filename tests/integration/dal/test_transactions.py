"""What every repository promises about transactions."""

import pytest

from commons.dal import (
    Compare,
    ConditionCheck,
    DeleteWrite,
    Exists,
    IRepository,
    NotExists,
    PutWrite,
    Table,
    Update,
    UpdateWrite,
    Write,
)
from commons.dynamodb.exceptions import (
    CancellationReason,
    RepositoryError,
    TransactionCanceledError,
)
from commons.keys import channel_key, event_key, member_key, subscription_key

EVENT = event_key("c", 1)
META = channel_key("c")
MEMBER = member_key("c", "alice")
SUBSCRIPTION = subscription_key("c", "alice", "1")


def test_a_transaction_writes_everything_in_every_table(storage: IRepository) -> None:
    storage.put(Table.CHANNELS, {**META, "members": 1})
    storage.put(Table.CHANNELS, {**MEMBER, "role": "owner"})
    storage.put(Table.CONNECTIONS, {**SUBSCRIPTION})

    storage.transact(
        [
            PutWrite(Table.CHAT_EVENTS, {**EVENT, "type": "t"}, NotExists("channel_id")),
            UpdateWrite(
                Table.CHANNELS, META, Update(add={"members": 1}), Compare("members", "<", 2)
            ),
            DeleteWrite(Table.CONNECTIONS, SUBSCRIPTION),
            ConditionCheck(Table.CHANNELS, MEMBER, Compare("role", "=", "owner")),
        ]
    )

    assert storage.get(Table.CHAT_EVENTS, EVENT) == {**EVENT, "type": "t"}
    assert storage.get(Table.CHANNELS, META) == {**META, "members": 2}
    assert storage.get(Table.CHANNELS, MEMBER) == {**MEMBER, "role": "owner"}
    assert storage.find(Table.CONNECTIONS, SUBSCRIPTION) is None


def test_a_transaction_with_one_false_condition_writes_nothing_and_gives_a_reason_for_each(
    storage: IRepository,
) -> None:
    storage.put(Table.CHAT_EVENTS, {**EVENT, "writer": "other"})
    storage.put(Table.CHANNELS, {**META, "members": 2})

    with pytest.raises(TransactionCanceledError) as raised:
        storage.transact(
            [
                PutWrite(Table.CHANNELS, {**MEMBER}),
                PutWrite(Table.CHAT_EVENTS, {**EVENT, "writer": "own"}, NotExists("channel_id")),
                DeleteWrite(Table.CHANNELS, META, Compare("members", "=", 2)),
                UpdateWrite(
                    Table.CONNECTIONS, SUBSCRIPTION, Update(set={"a": 1}), Exists("channel_id")
                ),
            ]
        )

    assert raised.value.reasons == (
        CancellationReason("None"),
        CancellationReason("ConditionalCheckFailed", {**EVENT, "writer": "other"}),
        CancellationReason("None"),
        CancellationReason("ConditionalCheckFailed"),
    )
    assert storage.get(Table.CHAT_EVENTS, EVENT) == {**EVENT, "writer": "other"}
    assert storage.get(Table.CHANNELS, META) == {**META, "members": 2}
    assert storage.find(Table.CHANNELS, MEMBER) is None
    assert storage.find(Table.CONNECTIONS, SUBSCRIPTION) is None


def test_a_condition_check_that_fails_cancels_the_transaction_and_shows_the_item(
    storage: IRepository,
) -> None:
    storage.put(Table.CHANNELS, {**MEMBER, "role": "member"})

    with pytest.raises(TransactionCanceledError) as raised:
        storage.transact(
            [
                PutWrite(Table.CHAT_EVENTS, {**EVENT}),
                ConditionCheck(Table.CHANNELS, MEMBER, Compare("role", "=", "owner")),
            ]
        )

    assert [reason.condition_failed for reason in raised.value.reasons] == [False, True]
    assert raised.value.reasons[1].item == {**MEMBER, "role": "member"}
    assert storage.find(Table.CHAT_EVENTS, EVENT) is None


@pytest.mark.parametrize(
    "writes",
    [
        [PutWrite(Table.CHANNELS, {**META}), ConditionCheck(Table.CHANNELS, META, Exists("pk"))],
        [PutWrite(Table.CHANNELS, {**META, "a": 1}), PutWrite(Table.CHANNELS, {**META, "b": 1})],
        [
            UpdateWrite(Table.CHANNELS, META, Update(add={"a": 1})),
            DeleteWrite(Table.CHANNELS, META),
        ],
    ],
    ids=["put and check", "put twice", "update and delete"],
)
def test_a_transaction_that_names_an_item_twice_is_refused(
    storage: IRepository, writes: list[Write]
) -> None:
    with pytest.raises(ValueError, match="once"):
        storage.transact(writes)

    assert storage.find(Table.CHANNELS, META) is None


def test_the_same_key_in_two_tables_is_two_items(storage: IRepository) -> None:
    storage.transact(
        [
            PutWrite(Table.CONNECTIONS, {"channel_id": "c", "sk": "x"}),
            PutWrite(Table.CHANNELS, {"pk": "c", "sk": "x"}),
        ]
    )

    assert storage.find(Table.CONNECTIONS, {"channel_id": "c", "sk": "x"}) is not None
    assert storage.find(Table.CHANNELS, {"pk": "c", "sk": "x"}) is not None


@pytest.mark.parametrize("count", [0, 101])
def test_a_transaction_has_1_to_100_writes(storage: IRepository, count: int) -> None:
    writes = [PutWrite(Table.CHAT_EVENTS, {"channel_id": "c", "seq": seq}) for seq in range(count)]

    with pytest.raises(ValueError, match="1 to 100"):
        storage.transact(writes)


def test_a_transaction_of_100_writes_is_made(storage: IRepository) -> None:
    keys = [event_key("c", seq) for seq in range(1, 101)]

    storage.transact([PutWrite(Table.CHAT_EVENTS, dict(key)) for key in keys])

    assert len(storage.batch_get(Table.CHAT_EVENTS, keys)) == 100


def test_an_update_that_changes_nothing_is_refused_in_a_transaction(storage: IRepository) -> None:
    with pytest.raises(ValueError, match="changes something"):
        storage.transact([UpdateWrite(Table.CHANNELS, META, Update())])


def test_a_transaction_with_an_item_that_is_too_large_writes_nothing(storage: IRepository) -> None:
    with pytest.raises(RepositoryError):
        storage.transact(
            [
                PutWrite(Table.CHANNELS, {**META}),
                PutWrite(Table.CHANNELS, {**MEMBER, "text": "x" * 410_000}),
            ]
        )

    assert storage.find(Table.CHANNELS, META) is None


def test_a_transaction_adds_to_sets_and_numbers_and_empties_them(storage: IRepository) -> None:
    storage.put(Table.CHANNELS, {**META, "users": frozenset({"a"})})

    storage.transact(
        [
            UpdateWrite(
                Table.CHANNELS,
                META,
                Update(
                    add={"count": 1},
                    add_to_set={"seen": frozenset({"b"})},
                    remove_from_set={"users": frozenset({"a"})},
                ),
            )
        ]
    )

    assert storage.get(Table.CHANNELS, META) == {**META, "count": 1, "seen": frozenset({"b"})}
