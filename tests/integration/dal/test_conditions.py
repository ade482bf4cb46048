"""What every repository promises about conditional writes."""

from collections.abc import Callable

import pytest

from commons.dal import (
    AllOf,
    Compare,
    Condition,
    Exists,
    IRepository,
    Item,
    NotExists,
    Table,
    Update,
    all_of,
    any_of,
)
from commons.dynamodb.exceptions import ConditionFailedError

KEY = {"pk": "channel#1", "sk": "meta"}
STORED: Item = {**KEY, "name": "general", "count": 5, "ratio": 0.5, "open": True, "status": "live"}


def is_true(storage: IRepository, condition: Condition) -> bool:
    try:
        storage.update(Table.CHANNELS, KEY, Update(set={"touched": True}), condition=condition)
    except ConditionFailedError:
        return False
    return True


TRUE: list[Condition] = [
    Exists("name"),
    Exists("pk"),
    NotExists("absent"),
    Compare("name", "=", "general"),
    Compare("name", "<>", "random"),
    Compare("name", "<", "h"),
    Compare("name", ">", "Z"),
    Compare("count", "=", 5),
    Compare("count", "<>", 4),
    Compare("count", "<", 10),
    Compare("count", "<=", 5),
    Compare("count", ">", -10),
    Compare("count", ">=", 5),
    Compare("ratio", "<", 1),
    Compare("open", "=", True),
    Compare("open", "<>", False),
    Compare("count", "<>", "5"),
    all_of(Exists("name"), Compare("count", "=", 5)),
    any_of(NotExists("name"), Compare("count", "=", 5)),
    all_of(any_of(NotExists("name"), Exists("count")), any_of(Exists("status"), Exists("x"))),
    any_of(all_of(Exists("x"), Exists("name")), Exists("status")),
]
FALSE: list[Condition] = [
    Exists("absent"),
    NotExists("name"),
    NotExists("pk"),
    Compare("name", "=", "General"),
    Compare("name", "<>", "general"),
    Compare("count", "=", "5"),
    Compare("count", ">", 5),
    Compare("count", "<", 5),
    Compare("absent", "=", 0),
    Compare("absent", "<>", 0),
    Compare("absent", "<", 1),
    all_of(Exists("name"), Compare("count", "=", 6)),
    any_of(NotExists("name"), Compare("count", "=", 6)),
    all_of(any_of(Exists("name"), Exists("x")), Exists("y")),
]


@pytest.mark.parametrize("condition", TRUE, ids=str)
def test_a_write_whose_condition_holds_is_made(storage: IRepository, condition: Condition) -> None:
    storage.put(Table.CHANNELS, STORED)

    assert is_true(storage, condition)
    assert storage.get(Table.CHANNELS, KEY) == {**STORED, "touched": True}


@pytest.mark.parametrize("condition", FALSE, ids=str)
def test_a_write_whose_condition_does_not_hold_changes_nothing(
    storage: IRepository, condition: Condition
) -> None:
    storage.put(Table.CHANNELS, STORED)

    assert not is_true(storage, condition)
    assert storage.get(Table.CHANNELS, KEY) == STORED


def test_strings_are_in_the_order_of_their_utf_8_bytes(storage: IRepository) -> None:
    # In UTF-16 it is the other way round.
    storage.put(Table.CHANNELS, {**KEY, "text": "\U0001f600"})

    assert is_true(storage, Compare("text", ">", "\uffff"))


def test_a_put_of_what_must_not_be_there_is_made_once_and_shows_the_winner(
    storage: IRepository,
) -> None:
    first = {"channel_id": "c", "seq": 1, "writer": "first"}
    storage.put(Table.CHAT_EVENTS, first, condition=NotExists("channel_id"))

    with pytest.raises(ConditionFailedError) as raised:
        storage.put(
            Table.CHAT_EVENTS, {**first, "writer": "second"}, condition=NotExists("channel_id")
        )

    assert raised.value.item == first
    assert storage.get(Table.CHAT_EVENTS, {"channel_id": "c", "seq": 1}) == first


def test_a_refused_update_shows_the_item_that_is_there(storage: IRepository) -> None:
    storage.put(Table.CHANNELS, STORED)

    with pytest.raises(ConditionFailedError) as raised:
        storage.update(
            Table.CHANNELS, KEY, Update(add={"count": 1}), condition=Compare("count", "<", 5)
        )

    assert raised.value.item == STORED


def test_a_refused_deletion_shows_the_item_that_is_there(storage: IRepository) -> None:
    storage.put(Table.CHANNELS, STORED)

    with pytest.raises(ConditionFailedError) as raised:
        storage.delete(Table.CHANNELS, KEY, condition=Compare("status", "=", "dead"))

    assert raised.value.item == STORED


@pytest.mark.parametrize(
    "write",
    [
        lambda storage, condition: storage.put(Table.CHANNELS, STORED, condition=condition),
        lambda storage, condition: storage.delete(Table.CHANNELS, KEY, condition=condition),
        lambda storage, condition: storage.update(
            Table.CHANNELS, KEY, Update(set={"a": 1}), condition=condition
        ),
    ],
    ids=["put", "delete", "update"],
)
def test_a_write_refused_because_nothing_is_there_shows_nothing(
    storage: IRepository, write: Callable[[IRepository, Condition], object]
) -> None:
    with pytest.raises(ConditionFailedError) as raised:
        write(storage, Exists("pk"))

    assert raised.value.item is None
    assert storage.find(Table.CHANNELS, KEY) is None


def test_a_conditional_deletion_is_made_once(storage: IRepository) -> None:
    storage.put(Table.CHANNELS, STORED)

    storage.delete(Table.CHANNELS, KEY, condition=Exists("pk"))
    with pytest.raises(ConditionFailedError):
        storage.delete(Table.CHANNELS, KEY, condition=Exists("pk"))


def test_a_combination_of_nothing_is_refused(storage: IRepository) -> None:
    with pytest.raises(ValueError, match="nothing"):
        storage.put(Table.CHANNELS, STORED, condition=AllOf(()))


def test_what_a_refusal_shows_is_a_copy(storage: IRepository) -> None:
    storage.put(Table.CHANNELS, {**KEY, "tags": ["a"]})
    with pytest.raises(ConditionFailedError) as raised:
        storage.delete(Table.CHANNELS, KEY, condition=NotExists("pk"))
    assert raised.value.item is not None
    raised.value.item["tags"] = []

    assert storage.get(Table.CHANNELS, KEY) == {**KEY, "tags": ["a"]}


def test_a_combination_of_one_condition_is_that_condition(storage: IRepository) -> None:
    item: Item = {"pk": "channel#one", "sk": "meta", "fence": 1, "status": "running"}
    storage.put(Table.CHANNELS, item)
    both = all_of(Compare("fence", "=", 1), Compare("status", "=", "running"))

    storage.update(
        Table.CHANNELS,
        {"pk": "channel#one", "sk": "meta"},
        Update(set={"text": "x"}),
        condition=all_of(any_of(both)),
    )

    assert storage.get(Table.CHANNELS, {"pk": "channel#one", "sk": "meta"})["text"] == "x"
