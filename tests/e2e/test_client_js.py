"""The JavaScript client against the running stack, by its own tests in libs/client-js/e2e."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.config import ROOT
from devstack.emulator import uv
from devstack.outputs import Outputs

PACKAGE = ROOT / "libs" / "client-js"
SECONDS = 400


@pytest.mark.parametrize("test", sorted(path.name for path in (PACKAGE / "e2e").glob("*.test.js")))
def test_the_javascript_client_on_the_stack(
    test: str, outputs: Outputs, token: Callable[[str], str], tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "UV": uv(),
        "CHAT_REST_URL": outputs.rest_url,
        "CHAT_WEBSOCKET_URL": outputs.websocket_url,
        "CHAT_TOKEN_ALICE": token("alice"),
        "CHAT_TOKEN_BOB": token("bob"),
    }
    command = ["npm", "run", "--silent", "test-stack", "--", f"e2e/{test}"]
    output = tmp_path / "output"

    with output.open("wb") as file:
        done = subprocess.run(
            ["sh", str(ROOT / "tools" / "node.sh"), *command],
            cwd=PACKAGE,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )

    assert done.returncode == 0, output.read_text()
