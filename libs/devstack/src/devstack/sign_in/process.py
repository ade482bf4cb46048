"""The process that signs demo users in."""

from collections.abc import Sequence
from typing import ClassVar

from devstack.local_server import LocalServer
from devstack.processes import ProcessName


class SignInProcess(LocalServer):
    """Runs `devstack.sign_in`; the page is told its port when it is deployed."""

    name: ClassVar[ProcessName] = "sign-in"
    module: ClassVar[str] = "devstack.sign_in"
    offset: ClassVar[int] = 2

    def _arguments(self) -> Sequence[str]:
        config = self._config
        return ["--emulator-port", str(config.port), "--local-dir", str(config.local_dir)]
