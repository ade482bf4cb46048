"""Calls to storage from a reply's task: they block, cannot be stopped, and may fail in passing."""

import asyncio
from collections.abc import Callable
from typing import Final

from commons.dynamodb.exceptions import StorageUnavailableError
from commons.observability import log

FIRST_PAUSE_SECONDS: Final = 0.25


async def to_its_end[Answer](call: Callable[[], Answer]) -> Answer:
    """Runs the call in a thread, and waits for its end though it is cancelled meanwhile.

    What the call writes, the end of the reply has to know of.
    """
    running = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await running
        raise


async def patiently[Answer](call: Callable[[], Answer], *, seconds: float) -> Answer:
    """Repeats the call while storage is in trouble: what it lays down was paid for, or done.

    Raises:
        StorageUnavailableError: for all that time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return await to_its_end(call)
        except StorageUnavailableError as error:
            if loop.time() + pause >= deadline or _is_cancelled():
                raise
            log.warning("storage is waited for", error=type(error).__name__)
        await asyncio.sleep(pause)
        pause *= 2


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
