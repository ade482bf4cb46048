"""Where tokens come from, and how long they last."""

import asyncio
import base64
import binascii
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from typing import Final

from chat_client.errors import TokenError

type SyncToken = str | Callable[[], str]
type Token = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A JWT, or what returns a fresh one; a blocking callable runs in a thread."""

EARLY_SECONDS: Final = 60.0
"""A token is replaced this long before it expires."""


def expiry_of(token: str | None) -> float | None:
    """When a JWT expires, in epoch seconds; None where it does not say. Nothing is verified."""
    if token is None:
        return None
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expires_at = claims["exp"]
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return None
    return float(expires_at) if isinstance(expires_at, int | float) else None


class _Tokens[Source]:
    """Keeps the last token of a callable while it lasts.

    Attributes:
        last: the token that was given last.
    """

    def __init__(self, source: str | Source, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._clock = clock
        self.last: str | None = source if isinstance(source, str) else None

    @property
    def renewable(self) -> bool:
        return not isinstance(self._source, str)

    def _lasts(self) -> bool:
        """Not where it does not say how long."""
        expires_at = expiry_of(self.last)
        return expires_at is not None and expires_at - EARLY_SECONDS > self._clock()


class SyncTokens(_Tokens[Callable[[], str]]):
    def get(self, *, fresh: bool = False) -> str:
        """The token to show now; `fresh` asks the callable whatever was kept.

        Raises:
            TokenError: the callable failed.
        """
        if isinstance(self._source, str):
            return self._source
        if fresh or self.last is None or not self._lasts():
            try:
                self.last = self._source()
            except Exception as error:
                raise TokenError(f"The token callable failed: {error!r}") from error
        return self.last


class AsyncTokens(_Tokens[Callable[[], str] | Callable[[], Awaitable[str]]]):
    async def get(self, *, fresh: bool = False) -> str:
        """As SyncTokens.get."""
        if isinstance(self._source, str):
            return self._source
        if fresh or self.last is None or not self._lasts():
            try:
                self.last = await _called(self._source)
            except Exception as error:
                raise TokenError(f"The token callable failed: {error!r}") from error
        return self.last


async def _called(source: Callable[[], str] | Callable[[], Awaitable[str]]) -> str:
    if inspect.iscoroutinefunction(source):
        given: str | Awaitable[str] = source()
    else:
        given = await asyncio.to_thread(source)
    return given if isinstance(given, str) else await given
