"""The demo model's process."""

from typing import ClassVar

from devstack.local_server import LocalServer
from devstack.processes import ProcessName, free_port


class ModelServer(LocalServer):
    """Runs `devstack.demo_model`; the emulator is told its port when it is started."""

    name: ClassVar[ProcessName] = "demo model"
    module: ClassVar[str] = "devstack.demo_model"
    offset: ClassVar[int] = 1

    def _port(self) -> int:
        """An emulator that runs already knows the last one, and no other."""
        last = self.last()
        if last is not None and self._processes.running("emulator") is not None:
            return last.port
        return free_port(self._config.port + self.offset)
