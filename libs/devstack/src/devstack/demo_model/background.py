"""The demo model inside another process: tests run it beside themselves."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from devstack.demo_model.server import start


@contextmanager
def demo_model(*, word_delay_ms: int = 0) -> Iterator[str]:
    """Serves on a free port of the loopback, in a thread; yields the base URL."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(start("127.0.0.1", 0, word_delay_ms=word_delay_ms))
    thread = threading.Thread(target=loop.run_forever, name="demo-model", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
