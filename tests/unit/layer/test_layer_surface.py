"""An older stack runs beside a newer layer: what it imports stays, and takes the same calls."""

from pathlib import Path

import pytest
from tools.layer_surface import broken, describe, released, still_there

FUNCTION = """
from commons.log import Log, read
from commons import clock
"""
COMMONS = {
    "__init__": "",
    "clock": "def now() -> float: ...",
    "log": """
LIMIT = 5

class Log:
    name: str

    def append(self, text: str, *, key: str | None = None) -> int: ...
    def _inner(self) -> None: ...

def read(seq: int, limit: int = 5) -> list[str]: ...
def unused() -> None: ...
""",
}


def surface(folder: Path, *, log: str | None = None) -> dict[str, list[str]]:
    function = folder / "functions" / "a" / "src" / "a"
    function.mkdir(parents=True, exist_ok=True)
    (function / "handler.py").write_text(FUNCTION)
    commons = folder / "commons"
    commons.mkdir(exist_ok=True)
    for name, text in COMMONS.items():
        (commons / f"{name}.py").write_text(log if log is not None and name == "log" else text)
    return describe(folder / "functions", folder)


def test_the_layer_has_what_functions_of_the_last_release_use() -> None:
    assert (
        list(broken(released(), still_there(released()) | describe())) == []
    ), "an older stack would break; before a first release: poe layer-surface --write"


def test_the_surface_is_what_functions_import(tmp_path: Path) -> None:
    assert surface(tmp_path) == {
        "commons.clock": [],
        "commons.clock.now": [],
        "commons.log.Log": [],
        "commons.log.Log.name": [],
        "commons.log.Log.append": ["text", "*", "key="],
        "commons.log.read": ["seq", "limit="],
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("limit: int = 5)", "limit: int = 5, newest: bool = False)"),
        ("key: str | None = None)", "key: str | None = None, at: int = 0)"),
        ("def unused() -> None: ...", ""),
        ("def _inner(self) -> None: ...", "def more(self) -> None: ..."),
    ],
)
def test_what_is_added_breaks_nobody(tmp_path: Path, old: str, new: str) -> None:
    before = surface(tmp_path)
    after = surface(tmp_path, log=COMMONS["log"].replace(old, new))
    assert list(broken(before, after)) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("def append", "def write", "commons.log.Log.append is gone"),
        ("name: str", "title: str", "commons.log.Log.name is gone"),
        ("seq: int, limit", "start: int, limit", "the parameter seq is not at its place"),
        ("limit: int = 5)", "limit: int)", "the parameter limit has lost its default"),
        ("limit: int = 5)", "limit: int = 5, *, newest: bool)", "newest is new and has no default"),
        ("key: str | None = None", "id: str | None = None", "the parameter key is gone"),
    ],
)
def test_what_an_older_function_would_miss_is_said(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    before = surface(tmp_path)
    after = surface(tmp_path, log=COMMONS["log"].replace(old, new))
    assert any(complaint in each for each in broken(before, after))


def test_a_name_that_functions_import_and_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"commons\.log has no read"):
        surface(tmp_path, log=COMMONS["log"].replace("def read", "def look"))
