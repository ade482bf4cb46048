"""The stack's servers and their tokens, as a warm function remembers them."""

import time
from collections.abc import Callable
from typing import Final

from workers_tools.servers import ToolNetwork, ToolServer, ToolServersError, read_servers

REMEMBERED_SECONDS: Final = 60.0
"""A changed parameter or secret is noticed within this."""

MAX_TOKEN: Final = 4_096

NO_SERVERS: Final = "[]"


class _Remembered[Value]:
    def __init__(self, value: Value, until: float) -> None:
        self.value = value
        self.until = until


class Configuration:
    """Reads the parameter and the secrets that it names, each a minute at most.

    Args:
        parameter: its name; empty: there are no servers, and nothing is read.
        read_parameter: finds a parameter's text; raises RepositoryError.
        read_secret: finds a secret's text by its ARN; raises RepositoryError.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        parameter: str,
        network: ToolNetwork,
        *,
        read_parameter: Callable[[str], str],
        read_secret: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parameter = parameter
        self._network = network
        self._read_parameter = read_parameter
        self._read_secret = read_secret
        self._clock = clock
        self._servers: _Remembered[list[ToolServer]] | None = None
        self._tokens: dict[str, _Remembered[str]] = {}

    def servers(self) -> list[ToolServer]:
        """All of them.

        Raises:
            RepositoryError: the parameter cannot be read.
            ToolServersError: it does not describe servers.
        """
        remembered = self._servers
        if remembered is None or remembered.until < self._clock():
            text = self._read_parameter(self._parameter) if self._parameter else NO_SERVERS
            remembered = self._servers = self._remember(read_servers(text, self._network))
        return remembered.value

    def forget(self) -> None:
        """The next look reads anew."""
        self._servers = None
        self._tokens.clear()

    def token(self, server: ToolServer) -> str:
        """What the server knows us by; empty where it asks for nothing.

        Raises:
            RepositoryError: the secret cannot be read.
            ToolServersError: it holds what no header carries.
        """
        arn = server.secret_arn
        if arn is None:
            return ""
        remembered = self._tokens.get(arn)
        if remembered is None or remembered.until < self._clock():
            remembered = self._tokens[arn] = self._remember(
                _token(self._read_secret(arn), server.name)
            )
        return remembered.value

    def _remember[Value](self, value: Value) -> _Remembered[Value]:
        return _Remembered(value, self._clock() + REMEMBERED_SECONDS)


def _token(secret: str, server: str) -> str:
    token = secret.strip()
    if not token or len(token) > MAX_TOKEN or not all("!" <= char <= "~" for char in token):
        raise ToolServersError(f"The secret of the server {server} is no bearer token.")
    return token
