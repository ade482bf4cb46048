"""What every repository promises about single items."""

import pytest

from commons.dal import IRepository, Item, Table, Update
from commons.dynamodb.exceptions import ObjectNotFoundError, RepositoryError
from commons.keys import event_key

KEY = {"pk": "channel#1", "sk": "meta"}


def channel(**attributes: object) -> Item:
    return {**KEY, **attributes}


def test_what_was_put_is_what_comes_back(storage: IRepository) -> None:
    item = channel(
        text="grüße 👋\n",
        empty="",
        whole=7,
        negative=-3,
        large=10**37 + 1,
        fraction=0.1,
        tiny=-1.5e-20,
        yes=True,
        no=False,
        nothing=None,
        raw=b"\x00\xff",
        members=frozenset({"alice", "bob"}),
        nested={"list": [1, "two", {"three": 3.5}], "empty": {}, "none": []},
    )

    storage.put(Table.CHANNELS, item)

    assert storage.get(Table.CHANNELS, KEY, consistent=True) == item


@pytest.mark.parametrize(
    ("written", "read"), [(1, 1), (1.0, 1), (1e20, 10**20), (-0.0, 0), (2.5, 2.5)]
)
def test_an_integral_number_comes_back_as_int_and_any_other_as_float(
    storage: IRepository, written: float, read: float
) -> None:
    storage.put(Table.CHANNELS, channel(number=written))

    number = storage.get(Table.CHANNELS, KEY)["number"]

    assert number == read
    assert type(number) is type(read)


def test_bools_stay_bools_and_ones_stay_ones(storage: IRepository) -> None:
    storage.put(Table.CHANNELS, channel(flags=[True, 1, False, 0]))

    flags = storage.get(Table.CHANNELS, KEY)["flags"]

    assert repr(flags) == "[True, 1, False, 0]"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 1e300, 10**40 + 1, frozenset()], ids=repr
)
def test_what_dynamodb_cannot_hold_is_refused(storage: IRepository, value: object) -> None:
    with pytest.raises(ValueError, match="DynamoDB"):
        storage.put(Table.CHANNELS, channel(value=value))


@pytest.mark.parametrize("value", [object(), frozenset({1}), {"nested": object()}])
def test_a_value_of_another_type_is_refused(storage: IRepository, value: object) -> None:
    with pytest.raises(TypeError):
        storage.put(Table.CHANNELS, channel(value=value))


def test_changing_what_was_read_or_written_changes_nothing_stored(storage: IRepository) -> None:
    tags = ["a"]
    storage.put(Table.CHANNELS, channel(tags=tags))
    tags.append("b")
    read = storage.get(Table.CHANNELS, KEY)
    read["tags"] = None

    assert storage.get(Table.CHANNELS, KEY) == channel(tags=["a"])


def test_changing_deep_inside_what_was_read_changes_nothing_stored(storage: IRepository) -> None:
    storage.put(Table.CHANNELS, channel(tags=["a"]))
    tags = storage.get(Table.CHANNELS, KEY)["tags"]
    assert isinstance(tags, list)
    tags.append("b")

    assert storage.get(Table.CHANNELS, KEY) == channel(tags=["a"])


def test_getting_what_is_not_there_says_so_and_finding_it_gives_none(storage: IRepository) -> None:
    assert storage.find(Table.CHANNELS, KEY) is None
    with pytest.raises(ObjectNotFoundError) as raised:
        storage.get(Table.CHANNELS, KEY)
    assert raised.value.key == KEY


def test_the_tables_are_separate(storage: IRepository) -> None:
    storage.put(Table.CHAT_EVENTS, {"channel_id": "x", "seq": 1})
    storage.put(Table.CONNECTIONS, {"channel_id": "x", "sk": "1"})

    assert storage.find(Table.CHAT_EVENTS, {"channel_id": "x", "seq": 1}) is not None
    assert storage.find(Table.CONNECTIONS, {"channel_id": "x", "sk": "-"}) is None
    assert storage.find(Table.CHANNELS, {"pk": "x", "sk": "1"}) is None


def test_a_put_replaces_the_whole_item(storage: IRepository) -> None:
    storage.put(Table.CHANNELS, channel(name="old", topic="old"))
    storage.put(Table.CHANNELS, channel(name="new"))

    assert storage.get(Table.CHANNELS, KEY) == channel(name="new")


@pytest.mark.parametrize(
    "key",
    [
        {"pk": "a"},
        {"pk": "a", "sk": "b", "more": "c"},
        {"pk": "", "sk": "b"},
        {"pk": "a", "sk": ""},
        {"pk": "a", "sk": 1},
    ],
    ids=str,
)
def test_a_key_that_is_not_the_tables_is_refused(
    storage: IRepository, key: dict[str, str | int]
) -> None:
    with pytest.raises(ValueError, match="channels"):
        storage.find(Table.CHANNELS, key)
    with pytest.raises(ValueError, match="channels"):
        storage.delete(Table.CHANNELS, key)


def test_an_item_of_more_than_400_kb_is_refused(storage: IRepository) -> None:
    with pytest.raises(RepositoryError):
        storage.put(Table.CHANNELS, channel(text="x" * 410_000))


# -- update


def test_an_update_changes_what_it_names_and_returns_the_item_as_it_is_then(
    storage: IRepository,
) -> None:
    storage.put(Table.CHANNELS, channel(name="old", topic="t", count=1, kept=True))

    updated = storage.update(
        Table.CHANNELS,
        KEY,
        Update(set={"name": "new", "data": {"a": 1}}, add={"count": 2}, remove=["topic", "absent"]),
    )

    expected = channel(name="new", data={"a": 1}, count=3, kept=True)
    assert updated == expected
    assert storage.get(Table.CHANNELS, KEY) == expected


def test_an_update_of_nothing_makes_the_item(storage: IRepository) -> None:
    assert storage.update(Table.CHANNELS, KEY, Update(add={"count": -1})) == channel(count=-1)


def test_attributes_may_be_called_like_dynamodbs_reserved_words(storage: IRepository) -> None:
    update = Update(set={"name": 1, "size": 2, "a.b": 3, "#x": 4, ":y": 5}, add={"count": 6})

    assert storage.update(Table.CHANNELS, KEY, update) == channel(
        name=1, size=2, **{"a.b": 3, "#x": 4, ":y": 5}, count=6
    )


def test_members_come_and_go_in_a_string_set_that_disappears_when_empty(
    storage: IRepository,
) -> None:
    def change(**changes: frozenset[str]) -> object:
        return storage.update(
            Table.CHANNELS,
            KEY,
            Update(
                add_to_set={"users": changes.get("add", frozenset())},
                remove_from_set={"gone": changes.get("remove", frozenset())},
            ),
        )

    storage.put(Table.CHANNELS, channel(gone=frozenset({"x", "y"})))

    change(add=frozenset({"alice"}))
    change(add=frozenset({"alice", "bob"}))
    assert change(remove=frozenset({"x", "z"})) == channel(
        users=frozenset({"alice", "bob"}), gone=frozenset({"y"})
    )
    assert change(remove=frozenset({"y"})) == channel(users=frozenset({"alice", "bob"}))
    assert change(remove=frozenset({"y"})) == channel(users=frozenset({"alice", "bob"}))


@pytest.mark.parametrize(
    "update", [Update(add={"name": 1}), Update(add_to_set={"name": frozenset({"a"})})], ids=str
)
def test_adding_to_an_attribute_of_another_type_is_refused_and_changes_nothing(
    storage: IRepository, update: Update
) -> None:
    storage.put(Table.CHANNELS, channel(name="text"))

    with pytest.raises(RepositoryError):
        storage.update(Table.CHANNELS, KEY, update)

    assert storage.get(Table.CHANNELS, KEY) == channel(name="text")


@pytest.mark.parametrize(
    "update",
    [
        Update(set={"sk": "other"}),
        Update(set={"a": 1}, remove=["a"]),
        Update(),
        Update(add_to_set={"a": frozenset()}),
    ],
    ids=["the key", "one attribute twice", "nothing", "an empty set"],
)
def test_an_update_that_means_nothing_is_refused(storage: IRepository, update: Update) -> None:
    with pytest.raises(ValueError, match="chang"):
        storage.update(Table.CHANNELS, KEY, update)


# -- delete


def test_a_deletion_may_be_made_again(storage: IRepository) -> None:
    storage.put(Table.CHANNELS, channel(name="n"))

    storage.delete(Table.CHANNELS, KEY)
    storage.delete(Table.CHANNELS, KEY)

    assert storage.find(Table.CHANNELS, KEY) is None


# -- batches


def test_a_batch_gets_those_that_exist_in_any_number(storage: IRepository) -> None:
    for seq in range(1, 131):
        storage.put(Table.CHAT_EVENTS, {"channel_id": "c", "seq": seq})
    keys = [event_key("c", seq) for seq in range(1, 261)]

    items = storage.batch_get(Table.CHAT_EVENTS, keys, consistent=True)

    assert sorted(int(str(item["seq"])) for item in items) == list(range(1, 131))
    assert storage.batch_get(Table.CHAT_EVENTS, []) == []


def test_a_batch_that_asks_for_an_item_twice_is_refused(storage: IRepository) -> None:
    with pytest.raises(ValueError, match="once"):
        storage.batch_get(Table.CHANNELS, [KEY, dict(KEY)])


def test_a_batch_deletes_any_number_and_minds_neither_absent_ones_nor_repetitions(
    storage: IRepository,
) -> None:
    for seq in range(1, 61):
        storage.put(Table.CHAT_EVENTS, {"channel_id": "c", "seq": seq})
    keys = [event_key("c", seq) for seq in range(2, 71)]

    storage.batch_delete(Table.CHAT_EVENTS, [*keys, *keys])

    left = storage.batch_get(
        Table.CHAT_EVENTS, [{"channel_id": "c", "seq": seq} for seq in range(1, 71)]
    )
    assert left == [{"channel_id": "c", "seq": 1}]
    storage.batch_delete(Table.CHAT_EVENTS, [])
