"""Packages as `sam build` makes them, with the same recipe, and what surrounds them on Lambda."""

import importlib.util
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from devstack.config import ROOT
from devstack.emulator import uv

MEMBERS = sorted(path.parent.name for path in ROOT.glob("functions/*/pyproject.toml"))
TOKEN_CHECKING = {"rest_authorizer", "websocket_connect", "websocket_session"}
MEGABYTE = 1_000_000
HEAVY = {"workers_agent": 20 * MEGABYTE, "workers_tools": 12 * MEGABYTE}
"""Both bring libraries of their own; the MCP SDK brings its server half and cryptography."""

LAYER_BUDGET = 16 * MEGABYTE

RUNTIME_PACKAGES = ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six"]
"""What Lambda's Python runtime brings, by import name."""


def build(folder: str, artifacts: Path, *, platform: str | None = "native") -> Path:
    """Builds a folder of the workspace; for Lambda's platform where `platform` is None."""
    inherited = {name: value for name, value in os.environ.items() if name != "CHAT_PLATFORM"}
    environment = {**inherited, "ARTIFACTS_DIR": str(artifacts), "UV": uv()}
    environment["CHAT_PYTHON"] = sys.executable
    if platform is not None:
        environment["CHAT_PLATFORM"] = platform
    subprocess.run(
        ["make", "build-Package"],
        cwd=ROOT / folder,
        env=environment,
        check=True,
        capture_output=True,
    )
    return artifacts


def runtime_sources() -> Iterator[Path]:
    """Where this environment holds what Lambda's runtime brings."""
    for name in RUNTIME_PACKAGES:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        yield origin.parent if origin.name == "__init__.py" else origin


def zipped_size(directory: Path) -> int:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in directory.rglob("*"):
            zipped.write(file, file.relative_to(directory))
    return archive.tell()


def size_budget(member: str) -> int:
    """Bytes, zipped."""
    if member in HEAVY:
        return HEAVY[member]
    return 6 * MEGABYTE if member in TOKEN_CHECKING else MEGABYTE // 10
