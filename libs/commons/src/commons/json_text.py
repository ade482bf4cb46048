"""JSON from outside, read strictly."""

import json
import math
from typing import Final, NoReturn

MAX_DEPTH: Final = 64
"""Of objects and arrays, the outermost included. Python's reader and pydantic's serialiser both
give up at some depth; nobody means this one."""


def parse_json(text: str) -> object:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON (NaN and the infinities are none), holds a number no float can, or
            nests deeper than 64.
    """
    try:
        value: object = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("nests too deep") from None
    _require_shallow(value, MAX_DEPTH)
    return value


def _refuse(_constant: str) -> NoReturn:
    raise ValueError("is no number of JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("is too large a number")
    return value


def _require_shallow(value: object, depth: int) -> None:
    if not isinstance(value, dict | list):
        return
    if depth == 0:
        raise ValueError("nests too deep")
    for part in value.values() if isinstance(value, dict) else value:
        _require_shallow(part, depth - 1)
