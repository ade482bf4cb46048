"""JSON from outside: what is read, and what is refused."""

from collections.abc import Callable

import pytest

from commons.json_text import MAX_DEPTH, parse_json


@pytest.mark.parametrize(
    "nested",
    [
        lambda levels: "[" * levels + "]" * levels,
        lambda levels: "[" * levels + "1" + "]" * levels,
        lambda levels: '{"a":' * levels + "1" + "}" * levels,
    ],
)
def test_sixty_four_levels_of_arrays_and_objects_are_read_and_no_more(
    nested: Callable[[int], str],
) -> None:
    parse_json(nested(MAX_DEPTH))
    with pytest.raises(ValueError, match="nests too deep"):
        parse_json(nested(MAX_DEPTH + 1))


def test_what_nests_deeper_than_python_reads_is_refused_as_well() -> None:
    with pytest.raises(ValueError, match="nests too deep"):
        parse_json("[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e400", "[-1e400]", "1" * 5_000, "", "{", "\ufeff1"]
)
def test_what_is_no_json_or_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whichever: the callers tell no more
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1e3", 1000.0), ("[1, null]", [1, None]), ('"é"', "é"), ("0.1", 0.1)]
)
def test_json_is_read(text: str, value: object) -> None:
    assert parse_json(text) == value
