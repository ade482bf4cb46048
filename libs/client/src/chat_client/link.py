"""The connection of a session: opened with a ticket, kept alive, opened again."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal, Protocol
from urllib.parse import urlencode
from weakref import WeakSet

from pydantic import JsonValue
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidURI, WebSocketException

from chat_client import operations
from chat_client.client import AsyncChatClient
from chat_client.connection import Connection, ConnectionLostError
from chat_client.errors import ChatError, SessionClosedError
from chat_client.exchange import Retries
from chat_client.frames import AckFrame, PongFrame
from chat_client.models import Wire
from chat_client.settings import SessionSettings
from chat_client.streams import LatestStream
from chat_client.tokens import EARLY_SECONDS, expiry_of

logger = logging.getLogger("chat_client")

THROTTLED: Final = frozenset({429, 503})
FATAL: Final = frozenset({400, 401, 403, 404, 422})
"""What the API answers a request for a ticket with when the next one will fare no better."""

TICKET_RETRIES: Final = Retries(tries=2)
"""Enough for a renewed token; all other waiting is done here, in one place."""

RENEW_AT: Final = 0.8
"""Of a token's life, where that is too short for a minute's notice."""

MAX_FRAME: Final = 1_048_576
"""Bytes; the server's frames have at most 128 KB."""

STATES_WAITING: Final = 16


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """How the session is connected.

    Attributes:
        status: `waiting` until the next try, `closed` for good.
        failures: tries that failed since the last good connection.
        retry_seconds: until the next try, when waiting.
        reason: why the last connection ended or did not come to be.
    """

    status: Literal["connecting", "open", "waiting", "closed"]
    failures: int = 0
    retry_seconds: float = 0.0
    reason: str = ""


class LinkUser(Protocol):
    """Whom the link tells what happens."""

    def opened(self) -> None:
        """There is a connection, with no subscription on it."""

    def lost(self) -> None:
        """There is none any more; another one comes."""

    def ended(self, error: ChatError) -> None:
        """There will be none any more."""

    def take(self, frame: Wire) -> None:
        """A frame that is no answer came."""

    def live_channels(self) -> list[str]:
        """The channels that are subscribed to on this connection."""

    def compare(self, channels: list[str], heads: Mapping[str, int]) -> None:
        """The server said how far the logs of the connection's channels reach.

        `channels` is what `live_channels` said before the server was asked.
        """


class Link:
    """At most one open connection at a time, and the next one after it.

    Args:
        client: whose user connects.
    """

    def __init__(
        self,
        websocket_url: str,
        client: AsyncChatClient,
        settings: SessionSettings,
        user: LinkUser,
    ) -> None:
        self._url = websocket_url
        self._client = client
        self._settings = settings
        self._user = user
        self._changed = asyncio.Event()
        self._failure: ChatError | None = SessionClosedError("The session was not opened.")
        self._started = False
        self._states: WeakSet[LatestStream[ConnectionState]] = WeakSet()
        self.state = ConnectionState("closed")
        self.connection: Connection | None = None

    def start(self) -> None:
        """Before `stay_connected` runs."""
        if self._started:
            raise SessionClosedError("A session is opened once.")
        self._started = True
        self._failure = None

    def states(self) -> LatestStream[ConnectionState]:
        stream: LatestStream[ConnectionState] = LatestStream(
            key=lambda _state: None, merge=lambda _older, newer: newer, limit=STATES_WAITING
        )
        self._states.add(stream)
        stream.put(self.state)
        return stream

    def check(self) -> None:
        """Raises the ChatError that ended the link, if it ended."""
        if self._failure is not None:
            raise self._failure

    async def open_connection(self) -> Connection:
        """The connection, as soon as there is one.

        Raises:
            ChatError: there will be none.
        """
        while True:
            self.check()
            if self.connection is not None:
                return self.connection
            self._changed.clear()
            await self._changed.wait()

    async def ask_until_answered(self, action: str, fields: dict[str, JsonValue]) -> AckFrame:
        """Asks until an answer comes; for what may be asked twice."""
        failures = 0
        while True:
            connection = await self.open_connection()
            try:
                return await connection.ask_ack(action, **fields)
            except ConnectionLostError:
                self.lost(connection)
            except ChatError as error:
                if error.status not in THROTTLED:
                    raise
                failures += 1
                await asyncio.sleep(self._settings.backoff.wait(failures))

    def lost(self, connection: Connection) -> None:
        """Whoever finds a connection dead says so; twice does no harm."""
        if self.connection is connection:
            self.connection = None
            self._user.lost()

    def end(self, error: ChatError) -> None:
        """For good: every call raises `error` from now on."""
        if self._failure is None:
            self._failure = error
            self.connection = None
            self._changed.set()
            self._show(ConnectionState("closed", reason=str(error)))
            for stream in list(self._states):
                stream.end()
            self._user.ended(error)

    async def stay_connected(self) -> None:
        """Runs until the link ends."""
        failures = 0
        while True:
            self._show(ConnectionState("connecting", failures))
            connection: Connection | None = None
            reason = "the connection was closed"
            try:
                async with self._opened() as connection:
                    self._show(ConnectionState("open"))
                    await self._serve(connection)
            except ChatError as error:
                if error.status in FATAL:
                    self.end(error)
                    return
                reason = str(error)
            except InvalidURI as error:
                self.end(ChatError(str(error)))
                return
            except (OSError, WebSocketException) as error:
                reason = str(error) or type(error).__name__
            if connection is not None:
                self.lost(connection)
                if connection.was_answered:
                    failures = 0
            failures += 1
            wait = self._settings.backoff.wait(failures)
            self._show(ConnectionState("waiting", failures, wait, reason))
            await asyncio.sleep(wait)

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Connection]:
        issued = await self._client.run(operations.issue_ticket(), retries=TICKET_RETRIES)
        query = urlencode({"ticket": issued.ticket})
        async with connect(
            f"{self._url}?{query}",
            open_timeout=self._settings.answer_seconds,
            close_timeout=1,
            ping_interval=None,  # what counts as activity for API Gateway are frames
            max_size=MAX_FRAME,
        ) as socket:
            yield Connection(
                socket,
                answer_seconds=self._settings.answer_seconds,
                expires_at=expiry_of(self._client.tokens.last),
            )

    async def _serve(self, connection: Connection) -> None:
        """Until the connection ends."""
        self.connection = connection
        self._changed.set()
        self._user.opened()
        async with asyncio.TaskGroup() as group:
            keeping = [
                group.create_task(self._keep_alive(connection)),
                group.create_task(self._keep_authenticated(connection)),
            ]
            async for frame in connection.pushes():
                self._user.take(frame)
            for task in keeping:
                task.cancel()

    async def _keep_alive(self, connection: Connection) -> None:
        """Pings; the answer tells of pushes that got lost, and of subscriptions."""
        with contextlib.suppress(ConnectionLostError):
            while True:
                await asyncio.sleep(self._settings.ping_seconds)
                channels = self._user.live_channels()
                try:
                    pong = await connection.ask("ping", heads=True)
                except ConnectionLostError:
                    raise
                except ChatError as error:
                    logger.info("a ping was refused: %s", error)
                    continue
                if isinstance(pong, PongFrame) and pong.heads is not None:
                    self._user.compare(channels, pong.heads)

    async def _keep_authenticated(self, connection: Connection) -> None:
        """Shows a fresh token before the last one expires."""
        if not self._client.tokens.renewable:
            return
        with contextlib.suppress(ConnectionLostError):
            while (expires_at := connection.expires_at) is not None:
                left = expires_at - time.time()
                await asyncio.sleep(max(1.0, left - EARLY_SECONDS, left * RENEW_AT))
                try:
                    token = await self._client.tokens.get(fresh=True)
                    renewed = expiry_of(token)
                    if renewed is not None and renewed > expires_at:
                        await connection.ask_ack("authenticate", token=token)
                        connection.expires_at = renewed
                except ConnectionLostError:
                    raise
                except ChatError as error:
                    logger.warning("the connection's token could not be renewed: %s", error)

    def _show(self, state: ConnectionState) -> None:
        self.state = state
        for stream in list(self._states):
            stream.put(state)
