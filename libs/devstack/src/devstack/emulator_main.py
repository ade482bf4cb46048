"""The emulator's process: ministack, of whose end no open connection keeps it.

It runs in the emulator's environment, as a script, and imports nothing of devstack.

Ministack saves its state when its application is told to end. Hypercorn tells it so after all
connections have ended, and there are two ways in which one never does:

- Since Python 3.12 `asyncio.Server.wait_closed` waits until every connection has ended. A client that
  opens its socket anew in the moment in which it is closed would be waited for without a bound.
- After `graceful_timeout` (3 s) Hypercorn cancels the connections that are left, and waits until they
  have ended. An open socket's end is a call of the function for `$disconnect`, which asks storage: the
  emulator, which takes no connection any more. That took 8 s, until the function gave up.
"""

import asyncio
import asyncio.base_events
import importlib
import runpy
import sys
from collections.abc import Generator
from typing import Protocol


class _Connection(Protocol):
    """Hypercorn's `TCPServer`."""

    async def run(self) -> None: ...


async def _return_at_once(self: asyncio.base_events.Server) -> None:
    """As before Python 3.12."""


def _until_cancelled(connection: _Connection) -> Generator[object, None, None]:
    """Awaits a connection; once that is cancelled, its end goes on without anybody who waits."""
    serving = asyncio.ensure_future(connection.run())
    try:
        yield from asyncio.shield(serving).__await__()
    except asyncio.CancelledError:
        serving.cancel()
        raise


if __name__ == "__main__":
    asyncio.base_events.Server.wait_closed = _return_at_once  # type: ignore[method-assign]  # see above
    tcp_server = importlib.import_module("hypercorn.asyncio.tcp_server")
    tcp_server.TCPServer.__await__ = _until_cancelled
    sys.argv = ["ministack"]
    runpy.run_module("ministack", run_name="__main__")
