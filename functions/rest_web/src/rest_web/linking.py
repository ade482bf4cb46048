"""Links ES modules into one: a page that loads thirty files asks thirty times for a function.

It knows the plain forms that the page and the client library are written in: named imports from
neighbours, and exports that stand before what they export. Each module keeps a scope of its own.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

ENTRY: Final = "main.js"

_IMPORT: Final = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_REEXPORT: Final = re.compile(r'^export \{([^}]+)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT: Final = re.compile(
    r"^export (?=(?:async function|function\*?|class|const|let) (\w+))", re.MULTILINE
)
_UNKNOWN: Final = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


class LinkError(ValueError):
    """The modules use a form that is not known here, or need each other."""


def link(modules: Mapping[str, str], entry: str) -> str:
    """One module that does what the entry and all that it imports do.

    Args:
        modules: their texts by file name.
        entry: the one that is run; its exports are dropped.

    Raises:
        LinkError: a module is missing, imports in a circle, or has a form that is not known.
    """
    order: list[str] = []
    _visit(modules, entry, (), order)
    return "".join(_linked(name, modules[name], is_entry=name == entry) for name in order)


def _visit(modules: Mapping[str, str], name: str, above: tuple[str, ...], order: list[str]) -> None:
    """Adds a module after those that it imports, each once."""
    if name in above:
        raise LinkError(f"imported in a circle: {' -> '.join([*above, name])}")
    if name in order:
        return
    if name not in modules:
        raise LinkError(f"{above[-1] if above else 'nobody'} imports {name}, which is not there")
    for pattern in (_IMPORT, _REEXPORT):
        for _, imported in pattern.findall(modules[name]):
            _visit(modules, imported, (*above, name), order)
    order.append(name)


def _linked(name: str, text: str, *, is_entry: bool) -> str:
    exported = [(each, each) for each in _EXPORT.findall(text)]
    for names, source in _REEXPORT.findall(text):
        exported += [
            (inner, f"{_variable(source)}.{outer}") for outer, inner in _names(names, source)
        ]
    body = _IMPORT.sub(_as_constants, _REEXPORT.sub("", text))
    body = _EXPORT.sub("", body).replace("export {};\n", "")
    if unknown := _UNKNOWN.search(body):
        raise LinkError(f"{name}: {unknown[0]}")
    if is_entry:
        return f"// {name}\n{body}"
    answer = ", ".join(
        inner if inner == value else f"{inner}: {value}" for inner, value in exported
    )
    return f"// {name}\nconst {_variable(name)} = (() => {{\n{body}return {{ {answer} }};\n}})();\n"


def _as_constants(found: re.Match[str]) -> str:
    taken = ", ".join(
        outer if outer == inner else f"{outer}: {inner}"
        for outer, inner in _names(found[1], found[2])
    )
    return f"const {{ {taken} }} = {_variable(found[2])};\n"


def _names(names: str, source: str) -> Iterator[tuple[str, str]]:
    """Each name there, and its name here."""
    for name in filter(None, (each.strip() for each in names.split(","))):
        outer, _, inner = name.partition(" as ")
        if not re.fullmatch(r"\w+", outer) or not re.fullmatch(r"\w*", inner):
            raise LinkError(f"{name} from {source}")
        yield outer, inner or outer


def _variable(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name.removesuffix(".js"))


def _link_in_place(folder: Path) -> None:
    """Leaves one module of a folder's; linked again, it is the same."""
    modules = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.js")}
    linked = link(modules, ENTRY)
    for file in folder.glob("*.js"):
        file.unlink()
    (folder / ENTRY).write_text(linked, encoding="utf-8")


if __name__ == "__main__":
    _link_in_place(Path(sys.argv[1]))
