"""What is deployed: complete, small, the same from the same sources, with nothing of this machine."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.package.conftest import Build
from tests.packaging import LAYER_BUDGET, MEMBERS, size_budget, zipped_size

from devstack.config import ROOT

UNCHECKED_HASH = 1
"""The flags of bytecode that is bound to no source file (PEP 552)."""

IMPORT_HANDLER = """
import importlib, json, sys
sys.path[:0] = sys.argv[2:]
handler = importlib.import_module(f"{sys.argv[1]}.handler").lambda_handler
print(json.dumps([callable(handler), sys.modules["commons"].__file__]))
"""


def contents(directory: Path) -> dict[str, str]:
    return {
        str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("member", MEMBERS)
def test_a_handler_imports_with_its_package_the_layer_and_the_runtime_alone(
    member: str, build: Build, layer: Path, runtime: Path
) -> None:
    paths = [str(build(f"functions/{member}")), str(layer / "python"), str(runtime)]

    imported = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", IMPORT_HANDLER, member, *paths],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert imported.returncode == 0, imported.stderr
    is_callable, commons = json.loads(imported.stdout)
    assert is_callable
    assert Path(commons).is_relative_to(layer)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_package_holds_only_what_the_layer_and_the_runtime_lack(
    member: str, build: Build, layer: Path, runtime: Path
) -> None:
    package = {path.name for path in build(f"functions/{member}").iterdir()}

    assert member in package
    assert package & {path.name for path in (layer / "python").iterdir()} == set()
    assert package & {path.name for path in runtime.iterdir()} == set()


@pytest.mark.parametrize("member", MEMBERS)
def test_a_package_stays_within_its_budget(member: str, build: Build) -> None:
    assert zipped_size(build(f"functions/{member}")) <= size_budget(member)


def test_the_layer_stays_within_its_budget(layer: Path) -> None:
    assert zipped_size(layer) <= LAYER_BUDGET


def test_the_layer_holds_commons_and_leaves_the_sdk_to_the_runtime(
    layer: Path, runtime: Path
) -> None:
    packages = {path.name for path in (layer / "python").iterdir()}

    assert {"commons", "aws_lambda_powertools", "pydantic"} <= packages
    assert packages & {path.name for path in runtime.iterdir()} == set()
    assert packages & set(MEMBERS) == set()


@pytest.mark.parametrize("folder", ["libs/commons", "functions/websocket_connect"])
def test_the_same_sources_give_the_same_bytes(folder: str, build: Build) -> None:
    assert contents(build(folder)) == contents(build(folder, again=True))


@pytest.mark.parametrize("folder", ["libs/commons", *(f"functions/{member}" for member in MEMBERS)])
def test_nothing_points_at_the_machine_that_built_it(folder: str, build: Build) -> None:
    package = build(folder)
    files = [file for file in package.rglob("*") if file.is_file()]

    assert [file for file in files if file.suffix == ".pth"] == []
    assert [file for file in files if file.name in {"INSTALLER", "direct_url.json"}] == []
    assert [file for file in files if str(package).encode() in file.read_bytes()] == []


@pytest.mark.parametrize("folder", ["libs/commons", "functions/rest_authorizer"])
def test_every_module_is_compiled_and_its_bytecode_checks_no_time_stamp(
    folder: str, build: Build
) -> None:
    package = build(folder)
    sources = list(package.rglob("*.py"))

    assert sources
    for source in sources:
        assert list((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")), source
    for bytecode in package.rglob("*.pyc"):
        assert int.from_bytes(bytecode.read_bytes()[4:8], "little") == UNCHECKED_HASH, bytecode


@pytest.mark.parametrize("member", MEMBERS)
def test_own_code_ships_as_bytecode_alone(member: str, build: Build) -> None:
    own = build(f"functions/{member}") / member

    assert list(own.rglob("*.py")) == []
    assert (own / "handler.pyc").exists()


def test_the_web_client_ships_the_session_of_the_client_library_as_it_is(build: Build) -> None:
    page = build("functions/rest_web") / "rest_web" / "page"
    session = (ROOT / "libs" / "client-js" / "src" / "session.js").read_text()

    assert [file.name for file in page.glob("*.js")] == ["main.js"]
    assert not any(file.is_symlink() for file in page.iterdir())
    assert session[session.index("class ChatSession") :] in (page / "main.js").read_text()


@pytest.mark.parametrize("folder", ["libs/commons", "functions/rest_authorizer"])
def test_for_aws_native_code_is_arm64(folder: str, build: Build) -> None:
    elf_machine, aarch64 = slice(18, 20), 183
    libraries = list(build(folder, platform=None).rglob("*.so"))

    assert libraries
    for library in libraries:
        assert int.from_bytes(library.read_bytes()[elf_machine], "little") == aarch64, library
