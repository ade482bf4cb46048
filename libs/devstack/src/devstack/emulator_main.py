"""The emulator's process: ministack, of which an open WebSocket does not keep the end.

It runs in the emulator's environment, as a script, and imports nothing of devstack.

Since Python 3.12 `asyncio.Server.wait_closed` waits until every connection has ended, and Hypercorn
calls it before it tells its application to end, which is when ministack saves its state. A client
that opens its socket anew in the moment in which it is closed would be waited for without a bound.
Hypercorn gives connections `graceful_timeout` (3 s) after that call: this is left to it.
"""

import asyncio.base_events
import runpy
import sys


async def _return_at_once(self: asyncio.base_events.Server) -> None:
    """As before Python 3.12."""


if __name__ == "__main__":
    asyncio.base_events.Server.wait_closed = _return_at_once  # type: ignore[method-assign]  # see above
    sys.argv = ["ministack"]
    runpy.run_module("ministack", run_name="__main__")
