"""Puts uv into a folder, with nothing but Python 3.8's standard library: for a Python without pip.

    python3 tools/fetch_uv.py FOLDER MINIMUM

It takes the newest wheel for this machine from PyPI and checks its SHA-256. It prints nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import sys
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urljoin

INDEX = "https://pypi.org/pypi/uv/json"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def wheel_tags() -> list[str]:
    """What the name of a wheel for this machine holds."""
    machine = platform.machine().lower()
    machine = MACHINES.get(machine, machine)
    if sys.platform == "darwin":
        return ["macosx", "arm64" if machine == "aarch64" else machine]
    return ["manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux", machine]


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - PyPI's, by https
        content: bytes = answer.read()
    return content


def main(folder: Path, minimum: str) -> None:
    release = json.loads(fetch(INDEX))
    if numbers(release["info"]["version"]) < numbers(minimum):
        sys.exit(f"PyPI's newest uv is {release['info']['version']}")
    tags = wheel_tags()
    wheels = [
        each
        for each in release["urls"]
        if each["packagetype"] == "bdist_wheel"
        and all(tag in each["filename"].rsplit("-", 1)[1] for tag in tags)
    ]
    if not wheels:
        sys.exit(f"PyPI has no uv for {' '.join(tags)}")
    wheel = fetch(urljoin(INDEX, wheels[0]["url"]))
    if hashlib.sha256(wheel).hexdigest() != wheels[0]["digests"]["sha256"]:
        sys.exit("what PyPI sent is not what it lists")
    binary = folder / "bin" / "uv"
    binary.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith("/scripts/uv")]
        binary.write_bytes(archive.read(name))
    binary.chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
