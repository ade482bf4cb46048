"""What the functions use of the layer, held against what the last release had.

A function takes a new layer when its own stack is deployed, and a stack that was not deployed since
keeps its old code: so whatever an older function imports has to stay, and to take the same calls.
`poe layer-surface` prints what a change breaks; with `--write` it writes `libs/commons/surface.json`
anew, which is part of a release.
"""

import argparse
import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
COMMONS: Final = ROOT / "libs" / "commons" / "src"
FUNCTIONS: Final = ROOT / "functions"
SURFACE: Final = ROOT / "libs" / "commons" / "surface.json"

type Surface = dict[str, list[str]]
"""By dotted name: its parameters in order, `=` after those that have a default, `*` where only names
go; for what is no callable, nothing."""


def describe(functions: Path = FUNCTIONS, commons: Path = COMMONS) -> Surface:
    """What the functions import of commons, with the public methods of what they import."""
    surface: Surface = {}
    for module, name in sorted(_imported(functions)):
        found = _entries(commons, module, name)
        if not found:
            raise LookupError(f"{module} has no {name}, which a function imports")
        surface |= found
    return surface


def still_there(before: Surface, commons: Path = COMMONS) -> Surface:
    """What is left of a surface, whether a function imports it today or not."""
    surface: Surface = {}
    for name in before:
        module, _, imported = name.rpartition(".")
        if module not in before:
            surface |= _entries(commons, module, imported)
    return surface


def released() -> Surface:
    """What the last release had; nothing where there was none."""
    if not SURFACE.exists():
        return {}
    told: dict[str, str] = json.loads(SURFACE.read_text())
    return {name: each.split(", ") if each else [] for name, each in told.items()}


def broken(before: Surface, current: Surface) -> Iterator[str]:
    """What of the released surface an older function would miss."""
    for name, parameters in before.items():
        if name not in current:
            yield f"{name} is gone"
            continue
        yield from (f"{name}: {each}" for each in _refused_calls(parameters, current[name]))


def _refused_calls(old: list[str], new: list[str]) -> Iterator[str]:
    positional_before, named_before = _split(old)
    positional_now, named_now = _split(new)
    for number, parameter in enumerate(positional_before):
        if _bare(positional_now, number) != parameter.rstrip("="):
            yield f"the parameter {parameter.rstrip('=')} is not at its place"
    known = {each.rstrip("=") for each in (*positional_before, *named_before)}
    taken = {each.rstrip("=") for each in (*positional_now, *named_now)}
    for parameter in named_before:
        if parameter.rstrip("=") not in taken:
            yield f"the parameter {parameter.rstrip('=')} is gone"
    optional = {each.rstrip("=") for each in old if each.endswith("=")}
    for parameter in (*positional_now, *named_now):
        if parameter.endswith("=") or parameter.startswith("*"):
            continue
        if parameter not in known:
            yield f"the parameter {parameter} is new and has no default"
        elif parameter in optional:
            yield f"the parameter {parameter} has lost its default"


def _split(parameters: list[str]) -> tuple[list[str], list[str]]:
    if "*" not in parameters:
        return parameters, []
    at = parameters.index("*")
    return parameters[:at], parameters[at + 1 :]


def _bare(parameters: list[str], number: int) -> str | None:
    return parameters[number].rstrip("=") if number < len(parameters) else None


def _imported(functions: Path) -> set[tuple[str, str]]:
    """Module and name of every import from commons; a module that is imported whole stands for all."""
    names: set[tuple[str, str]] = set()
    for file in functions.glob("*/src/**/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "commons":
                names |= {(str(node.module), alias.name) for alias in node.names}
    return names


def _entries(commons: Path, module: str, name: str) -> Surface:
    """The name's entries, wherever the module has it from."""
    as_module = _file_of(commons, f"{module}.{name}")
    if as_module is not None:
        return _module_entries(as_module, f"{module}.{name}")
    file = _file_of(commons, module)
    if file is None:
        return {}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("commons"):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    inner = _entries(commons, node.module, alias.name)
                    return {
                        key.replace(f"{node.module}.{alias.name}", f"{module}.{name}", 1): value
                        for key, value in inner.items()
                    }
        if name in _defined(node):
            inherited = _inherited(commons, module, node, f"{module}.{name}")
            return inherited | _definition(node, f"{module}.{name}")
    return {}


def _inherited(commons: Path, module: str, node: ast.stmt, name: str) -> Surface:
    """What a class has from its bases, as its own."""
    if not isinstance(node, ast.ClassDef):
        return {}
    surface: Surface = {}
    for base in node.bases:
        if isinstance(base, ast.Name):
            entries = _entries(commons, module, base.id)
            surface |= {
                key.replace(f"{module}.{base.id}", name, 1): value for key, value in entries.items()
            }
    return surface


def _file_of(commons: Path, module: str) -> Path | None:
    path = commons.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


def _module_entries(file: Path, module: str) -> Surface:
    surface: Surface = {module: []}
    for node in ast.parse(file.read_text()).body:
        for name in _defined(node):
            if not name.startswith("_"):
                surface |= _definition(node, f"{module}.{name}")
    return surface


def _defined(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case ast.Assign(targets=targets):
            return [each.id for each in targets if isinstance(each, ast.Name)]
        case ast.TypeAlias(name=ast.Name(id=name)):
            return [name]
        case _:
            return []


def _definition(node: ast.stmt, name: str) -> Surface:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return {name: _parameters(node.args)}
        case ast.ClassDef():
            surface: Surface = {name: []}
            for member in node.body:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    if member.name == "__init__" or not member.name.startswith("_"):
                        surface[f"{name}.{member.name}"] = _parameters(member.args)
                else:
                    for attribute in _defined(member):
                        if not attribute.startswith("_"):
                            surface[f"{name}.{attribute}"] = []
            return surface
        case _:
            return {name: []}


def _parameters(arguments: ast.arguments) -> list[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    told = [each.arg + ("=" if at >= required else "") for at, each in enumerate(positional)]
    told = [each for each in told if each not in {"self", "cls"}]
    if arguments.vararg or arguments.kwonlyargs:
        told.append("*")
    defaults = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    told += [each.arg + ("=" if default is not None else "") for each, default in defaults]
    if arguments.kwarg:
        told.append(f"**{arguments.kwarg.arg}")
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="this is a release")
    current = describe()
    if parser.parse_args().write:
        told = {name: ", ".join(parameters) for name, parameters in current.items()}
        SURFACE.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
        return 0
    found = list(broken(released(), still_there(released()) | current))
    sys.stdout.writelines(f"{each}\n" for each in found)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
