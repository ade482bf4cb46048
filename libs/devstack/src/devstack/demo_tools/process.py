"""The process of the demo's tool servers."""

import json
from collections.abc import Sequence
from typing import ClassVar

from devstack.local_server import LocalServer
from devstack.processes import ProcessName


class DemoTools(LocalServer):
    """Runs `devstack.demo_tools`; the workers' stack is told its port."""

    name: ClassVar[ProcessName] = "demo tools"
    module: ClassVar[str] = "devstack.demo_tools"
    offset: ClassVar[int] = 3
    start_seconds: ClassVar[float] = 30.0

    def described(self) -> str:
        """The servers as `CHAT_TOOLS` would describe them."""
        record = self.last()
        if record is None:
            return "[]"
        base = f"http://127.0.0.1:{record.port}"
        names = ("clock", "notes")
        return json.dumps([{"name": name, "url": f"{base}/{name}/mcp"} for name in names])

    def _arguments(self) -> Sequence[str]:
        return ["--notes", str(self._config.state_dir / "notes.json")]
