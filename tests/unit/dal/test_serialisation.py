import json

import pytest
from tests.doubles.sizes import item_size

from commons.dal import deserialize
from commons.dal.serialisation import serialize_item


def test_an_image_of_a_stream_record_is_read_as_services_see_items() -> None:
    image = json.loads("""{
            "channel_id": {"S": "c"}, "seq": {"N": "12"}, "ratio": {"N": "0.25"},
            "big": {"N": "1E+3"}, "negative": {"N": "-7"}, "raw": {"B": "AP8="},
            "flag": {"BOOL": false}, "nothing": {"NULL": true}, "users": {"SS": ["a", "b"]},
            "data": {"M": {"text": {"S": "hi"}, "list": {"L": [{"N": "1"}, {"M": {}}]}}}
        }""")

    assert deserialize(image) == {
        "channel_id": "c",
        "seq": 12,
        "ratio": 0.25,
        "big": 1000,
        "negative": -7,
        "raw": b"\x00\xff",
        "flag": False,
        "nothing": None,
        "users": frozenset({"a", "b"}),
        "data": {"text": "hi", "list": [1, {}]},
    }


def test_bytes_of_an_api_answer_stay_as_they_are() -> None:
    assert deserialize({"raw": {"B": b"AP8="}}) == {"raw": b"AP8="}


def test_a_type_that_items_never_have_is_refused() -> None:
    with pytest.raises(TypeError, match="NS"):
        deserialize({"numbers": {"NS": ["1"]}})


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (-5, "-5"),
        (10**38 - 1, "9" * 38),
        (10**38, "1" + "0" * 38),
        (0.1, "0.1"),
        (1.5e-7, "1.5E-7"),
    ],
)
def test_numbers_are_written_exactly(number: float, text: str) -> None:
    assert serialize_item({"n": number}) == {"n": {"N": text}}


@pytest.mark.parametrize("number", [1e-131, 1e126, float("nan"), float("-inf"), 10**38 + 1])
def test_numbers_beyond_dynamodbs_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="DynamoDB"):
        serialize_item({"n": number})


@pytest.mark.parametrize("number", [1e-130, 9.99e125, -9.99e125])
def test_numbers_at_dynamodbs_bounds_come_back(number: float) -> None:
    read = deserialize(serialize_item({"n": number}))["n"]

    assert isinstance(read, int | float)
    assert float(read) == number


def test_tuples_are_written_as_lists() -> None:
    assert deserialize(serialize_item({"t": (1, ("a",))})) == {"t": [1, ["a"]]}


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"a": ""}, 1),
        ({"name": "grüße"}, 4 + 7),
        ({"n": 0}, 1 + 1),
        ({"n": 7}, 1 + 2),
        ({"n": -7}, 1 + 3),
        ({"n": 1234}, 1 + 3),
        ({"n": 12000}, 1 + 2),
        ({"n": 0.25}, 1 + 2),
        ({"b": True}, 1 + 1),
        ({"x": None}, 1 + 1),
        ({"raw": b"123"}, 3 + 3),
        ({"s": frozenset({"ab", "c"})}, 1 + 3),
        ({"l": []}, 1 + 3),
        ({"l": ["ab", True]}, 1 + 3 + (2 + 1) + (1 + 1)),
        ({"m": {"k": "v"}}, 1 + 3 + (1 + 1) + 1),
    ],
)
def test_an_item_counts_for_its_names_and_values(item: dict[str, object], size: int) -> None:
    assert item_size(item) == size
