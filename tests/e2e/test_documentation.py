"""Every block of code that the README and the page about clients show, run as it stands."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.clients import RestClient

from devstack.config import ROOT
from devstack.emulator import uv
from devstack.local_stack import LocalStack
from devstack.locks import exclusive
from devstack.outputs import Outputs
from devstack.progress import Progress

pytestmark = pytest.mark.rare

SCRIPTED = "I am a scripted demo model"
CLIENTS = ROOT / "docs" / "clients.md"
README = ROOT / "README.md"
FRONT_END = Path(__file__).parent / "front_end"
# As a package that npm has unpacked is found: by where it is linked, not by where it lies.
NODE = ["node", "--preserve-symlinks", "--preserve-symlinks-main"]
_BLOCK = re.compile(
    r"^```(?P<language>sh|python|js|jsx)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    page: str
    section: str
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}-{self.section}-{self.language}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    headings = [(found.start(), found[1]) for found in _HEADING.finditer(text)]
    return [
        Block(
            page.stem,
            next(heading for start, heading in reversed(headings) if start < found.start()),
            found["language"],
            found["code"],
        )
        for found in _BLOCK.finditer(text)
        if any(start < found.start() for start, _heading in headings)
    ]


ON_CLIENTS = blocks_of(CLIENTS)


def shell(*sections: str) -> str:
    """The commands of these sections, in the page's order, as one script."""
    found = [b.code for b in ON_CLIENTS if b.language == "sh" and b.section in sections]
    assert len(found) >= len(sections)
    return "\n".join(found)


@pytest.fixture(scope="module")
def environment(local_stack: LocalStack) -> dict[str, str]:
    return {
        **os.environ,
        "CHAT_PORT": str(local_stack.config.port),
        "CHAT_LOCAL_DIR": str(local_stack.config.local_dir),
        "PATH": f"{Path(uv()).parent}{os.pathsep}{os.environ['PATH']}",
        "NODE_OPTIONS": "--experimental-websocket",  # until Node 22 a WebSocket has to be asked for
    }


@pytest.fixture(scope="module")
def run_shell(environment: dict[str, str], local_stack: LocalStack) -> Callable[[str], str]:
    """Runs a script where the reader does; this session's stack has its folder elsewhere."""
    outputs = str(local_stack.config.outputs_file)

    def run(script: str) -> str:
        return checked(
            ["bash", "-euo", "pipefail", "-c", script.replace(".local/outputs.json", outputs)],
            ROOT,
            environment,
        )

    return run


def checked(command: list[str], cwd: Path, environment: dict[str, str]) -> str:
    """What a command prints, which has to succeed."""
    # An input that stays open, as a terminal's does: wscat ends with it.
    source, sink = os.pipe()
    try:
        finished = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=source,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(source)
        os.close(sink)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture
def variables(environment: dict[str, str], outputs: Outputs, alice: RestClient) -> dict[str, str]:
    """What the page's first commands export, and a channel that has been talked in."""
    channel = alice.create_channel(mode="always")
    alice.post(channel, "Hello?")
    return {
        **environment,
        "REST": outputs.rest_url,
        "SOCKET": outputs.websocket_url,
        "TOKEN": alice.token,
        "CHANNEL": channel,
    }


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A front end's project that has installed the client and the libraries that it works with."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm on this machine")
    # Those who run tests side by side have one folder to install into.
    with exclusive(ROOT / ".local" / "front-end.lock", Progress(sys.stderr)):
        # Written last, and removed by the next installation: half of one counts for none.
        installed = FRONT_END / "node_modules" / ".installed"
        wanted = (FRONT_END / "package-lock.json").read_text()
        if not installed.exists() or installed.read_text() != wanted:
            install = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
            checked(install, FRONT_END, dict(os.environ))
            installed.write_text(wanted)
    folder = tmp_path_factory.mktemp("front-end")
    (folder / "node_modules").symlink_to(FRONT_END / "node_modules")
    for file in ("package.json", "use-chat.js"):
        shutil.copy(FRONT_END / file, folder)
    return folder


def test_curl_posts_and_reads_the_reply(run_shell: Callable[[str], str]) -> None:
    printed = run_shell(shell("URLs and a token", "curl"))

    assert SCRIPTED in printed


def test_wscat_sends_a_frame_and_shows_what_comes(run_shell: Callable[[str], str]) -> None:
    if shutil.which("npx") is None:
        pytest.skip("there is no npm on this machine")

    printed = run_shell(shell("URLs and a token", "curl", "wscat"))

    frames = [json.loads(line) for line in printed.splitlines() if line.startswith('{"type"')]
    assert {"ack", "events", "delta"} <= {frame["type"] for frame in frames}


def programs(language: str) -> list[Block]:
    found = [block for block in [*ON_CLIENTS, *blocks_of(README)] if block.language == language]
    assert found
    return found


@pytest.mark.parametrize("block", programs("python"), ids=str)
def test_a_program_in_python_prints_the_reply(
    block: Block, variables: dict[str, str], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(block.code)

    assert SCRIPTED in checked([sys.executable, str(program)], tmp_path, variables)


@pytest.mark.parametrize("block", programs("js"), ids=str)
def test_a_program_in_javascript_prints_the_reply(
    block: Block, variables: dict[str, str], node_folder: Path
) -> None:
    program = node_folder / "program.mjs"
    program.write_text(block.code)

    assert SCRIPTED in checked([*NODE, str(program)], node_folder, variables)


def test_a_component_on_the_ai_sdk_shows_the_reply(
    variables: dict[str, str], node_folder: Path
) -> None:
    (block,) = programs("jsx")
    (node_folder / "conversation.jsx").write_text(block.code)
    esbuild = str(node_folder / "node_modules" / ".bin" / "esbuild")
    checked(
        [esbuild, "conversation.jsx", "--jsx=automatic", "--outfile=conversation.js"],
        node_folder,
        variables,
    )

    shown = checked([*NODE, "use-chat.js"], node_folder, variables)

    assert "user: What can you do?" in shown
    assert f"assistant: {SCRIPTED}" in shown
