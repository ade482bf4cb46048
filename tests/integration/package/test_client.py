"""The SDK alone: its wheel installs and imports where nothing else of the workspace is."""

import subprocess
from pathlib import Path

from devstack.config import ROOT
from devstack.emulator import uv

IMPORT = """
import importlib.metadata, importlib.util
import chat_client
print(chat_client.ChatSession.__module__, importlib.metadata.version("chat-client"))
print(importlib.util.find_spec("commons"), importlib.util.find_spec("textual"))
print((__import__("pathlib").Path(chat_client.__file__).parent / "py.typed").exists())
"""


def run(*command: str | Path) -> str:
    finished = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return finished.stdout


def test_the_wheel_installs_alone_and_is_typed(tmp_path: Path) -> None:
    run(uv(), "build", "--wheel", "--out-dir", tmp_path, "--quiet", "libs/client")
    (wheel,) = tmp_path.glob("*.whl")
    run(uv(), "venv", "--quiet", "--no-project", "--python", "3.12", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(uv(), "pip", "install", "--quiet", "--python", python, wheel)

    answer = run(python, "-I", "-c", IMPORT).splitlines()

    assert answer == ["chat_client.session 0.1.0", "None None", "True"]
