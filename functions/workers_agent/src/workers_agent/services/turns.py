"""Replies of one channel take turns at what they would only take from each other."""

import asyncio
from weakref import WeakValueDictionary


class Turns:
    """One at a time for each channel, in the order they came.

    A worker's ten replies of a channel append to one log and set tokens aside in one row. All at
    once, each success costs the others a lost try; with twenty such workers hardly any succeeds.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, channel_id: str) -> asyncio.Lock:
        lock = self._locks.get(channel_id)
        if lock is None:
            lock = self._locks[channel_id] = asyncio.Lock()
        return lock
