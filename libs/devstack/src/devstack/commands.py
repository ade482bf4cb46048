"""How a command is typed on this machine."""

import os
import subprocess
from functools import cache
from pathlib import Path

from devstack.config import ROOT
from devstack.emulator import uv


def poe(task: str) -> str:
    """The line that runs a task of poe: with uv's path where `uv` alone is not found."""
    return f"{_uv_as_typed()} run poe {task}"


@cache
def _uv_as_typed() -> str:
    try:
        # Under pyenv a shim may be found and yet fail: only what runs counts.
        subprocess.run(["uv", "--version"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        path = Path(uv())
        return os.path.relpath(path, ROOT) if path.is_relative_to(ROOT) else str(path)
    return "uv"
