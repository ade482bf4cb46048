"""A WebSocket session that comes back by itself and misses nothing."""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any, Literal, Self
from weakref import WeakValueDictionary

import httpx
from pydantic import JsonValue

from chat_client.channels import Channels
from chat_client.client import AsyncChatClient
from chat_client.connection import ConnectionLostError, fits_a_frame
from chat_client.errors import ChatError, ProtocolError, SessionClosedError, UnreachableError
from chat_client.frames import PresenceFrame, ReadFrame, TypingFrame
from chat_client.link import ConnectionState, Link
from chat_client.models import Event
from chat_client.operations import new_id
from chat_client.replies import Delta
from chat_client.reply import ReplyStream
from chat_client.settings import SessionSettings
from chat_client.streams import EventStream, LatestStream
from chat_client.tokens import Token
from chat_client.upkeep import keep_subscribed


class ChatSession:
    """Events of channels, each once and in order, over one WebSocket that reconnects by itself.

        async with ChatSession(rest_url, websocket_url, token=token) as session:
            await session.subscribe(channel_id)
            async for event in session.events(channel_id):
                ...

    Entering raises ChatError when the token is refused, and UnreachableError when nobody answers
    within `open_seconds`. Later on a lost connection is nobody's concern: calls wait for the next
    one. A refused token ends the session: every call and iteration raises that ChatError.

    Args:
        rest_url: as the deployment names it, without `/v1`.
        websocket_url: likewise.
        token: a JWT, or a callable, async or not, that returns a fresh one. With a callable the
            session outlives its tokens.
        settings: times and bounds.
        transport: how REST requests travel; httpx's own by default.
    """

    def __init__(
        self,
        rest_url: str,
        websocket_url: str,
        *,
        token: Token,
        settings: SessionSettings | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings or SessionSettings()
        self.client = AsyncChatClient(rest_url, token, transport=transport)
        """REST calls of the same user."""
        self._channels = Channels(self._settings)
        self._link = Link(websocket_url, self.client, self._settings, self._channels)
        self._send_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._link.start()
        self._spawn(self._link.stay_connected())
        try:
            async with asyncio.timeout(self._settings.open_seconds):
                await self._link.open_connection()
        except TimeoutError:
            reason = self._link.state.reason or "no answer"
            await self.close()
            raise UnreachableError(f"The session found no connection: {reason}") from None
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection and all iterations; twice does no harm."""
        self._link.end(SessionClosedError("The session was closed."))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.client.close()

    def states(self) -> LatestStream[ConnectionState]:
        """The state of the connection, and each later one: for a display."""
        return self._link.states()

    async def subscribe(self, channel_id: str, after: int | None = 0) -> None:
        """Returns once the server sends the channel's events; nothing changes where it does.

        `after` is the last event that you have: iteration begins with the next one. None: it begins
        with what comes from now on.

        Raises:
            ChatError: 404, no such channel for you; 409, more than 50 channels.
        """
        self._link.check()
        if after is None:
            after = (await self.client.get_channel(channel_id)).last_seq
        known = self._channels.find(channel_id)
        if known is None or known.has_ended:
            known = self._channels.add(channel_id, after)
            self._spawn(keep_subscribed(known, self._link, self._settings.backoff))
        try:
            await asyncio.shield(known.ready)
        except ChatError:
            self._channels.remove(known)
            raise

    async def unsubscribe(self, channel_id: str) -> None:
        """Ends the channel's iterations."""
        subscription = self._channels.find(channel_id)
        if subscription is None:
            return
        self._channels.remove(subscription)
        was_live = subscription.log.is_live and not subscription.has_ended
        subscription.end()
        connection = self._link.connection
        if was_live and connection is not None:
            with contextlib.suppress(ConnectionLostError):
                await connection.ask_ack("unsubscribe", channelId=channel_id)

    def events(self, channel_id: str) -> EventStream:
        """The channel's events after `subscribe`'s `after`, each once and in order.

        A second iteration goes on where the first one stopped; two at once are refused
        (RuntimeError). While iterating:

        Raises:
            UnsubscribedError: the server ended the subscription; its `reason` says why.
            SlowConsumerError: too many events waited; iterate again to go on, nothing is lost.
            ChatError: the session ended.
        """
        return EventStream(self._channels.require(channel_id).events)

    def deltas(self, channel_id: str) -> LatestStream[Delta]:
        """The channel's replies as they are written, beginning with what is written already.

        Pieces joined are the text so far; one with `snapshot` starts anew. Nothing comes for a
        reply after its final event. Who reads slowly gets larger pieces.
        """
        return self._channels.require(channel_id).deltas()

    def reply(self, channel_id: str, reply_to: int, *, generation: int = 1) -> ReplyStream:
        """The reply to the message `reply_to`, piece by piece until its end.

        It waits for as long as no reply begins: bound it where the agent may be off.
        """
        return ReplyStream(
            self._channels.require(channel_id),
            reply_to,
            generation,
            read_log=lambda after: self.client.list_events(channel_id, after=after, limit=100),
            look_seconds=self._settings.ping_seconds,
        )

    def presence_updates(self, channel_id: str) -> LatestStream[PresenceFrame]:
        """Who is there, then who comes and goes."""
        return self._channels.require(channel_id).presence()

    def typing_updates(self, channel_id: str) -> LatestStream[TypingFrame]:
        return self._channels.require(channel_id).typing()

    def read_updates(self, channel_id: str) -> LatestStream[ReadFrame]:
        """Other members' read marks as they move."""
        return self._channels.require(channel_id).reads()

    def online(self, channel_id: str) -> frozenset[str]:
        """Who is there, as far as the server said."""
        return frozenset(self._channels.require(channel_id).online)

    async def send(
        self,
        channel_id: str,
        text: str,
        client_message_id: str | None = None,
        *,
        reply_to: int | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
    ) -> int:
        """Posts a message; answers its seq once it is stored.

        A lost connection is waited out, and what was sent is sent again: it is stored once. The
        same `client_message_id` again, in a later run too, answers with the same seq. Messages of
        one channel are stored in the order of the calls. A text too long for a frame goes by REST.

        Raises:
            ChatError: the server refused it.
        """
        self._link.check()
        message_id = client_message_id or new_id()
        fields: dict[str, JsonValue] = {
            "channelId": channel_id,
            "text": text,
            "clientMessageId": message_id,
        }
        if reply_to is not None:
            fields["replyTo"] = reply_to
        if metadata is not None:
            fields["metadata"] = dict(metadata)
        async with self._send_locks.setdefault(channel_id, asyncio.Lock()):
            if not fits_a_frame({"action": "sendmessage", **fields}):
                event = await self.client.post_message(
                    channel_id,
                    text,
                    client_message_id=message_id,
                    reply_to=reply_to,
                    metadata=metadata,
                )
                return event.seq
            ack = await self._link.ask_until_answered("sendmessage", fields)
        if ack.seq is None:
            raise ProtocolError("An ack of sendmessage has no seq.")
        return ack.seq

    async def typing(self, channel_id: str, typing: bool = True) -> None:
        """Tells the others; while there is no connection, nobody."""
        connection = self._link.connection
        if connection is not None:
            with contextlib.suppress(ConnectionLostError):
                await connection.tell("typing", channelId=channel_id, typing=typing)

    async def mark_read(self, channel_id: str, seq: int) -> None:
        """Says that the user has read up to `seq`; a mark never moves back."""
        await self._link.ask_until_answered("read", {"channelId": channel_id, "seq": seq})

    async def cancel(self, channel_id: str, reply_to: int | None = None) -> None:
        """Ends the running replies: all up to now, or the one to the message `reply_to`."""
        fields: dict[str, JsonValue] = {"channelId": channel_id}
        if reply_to is not None:
            fields["replyTo"] = reply_to
        await self._link.ask_until_answered("cancel", fields)

    async def decide(
        self,
        channel_id: str,
        call_id: str,
        decision: Literal["approve", "deny"],
        *,
        arguments_digest: str | None = None,
    ) -> Event:
        """Says whether a call of a tool is made; returns the `tool.decided` that stands.

        It may be repeated: the same decision again is answered alike.

        Raises:
            ChatError: the server refused it; where another decision came first (409), its problem
                says `decision` and `decidedBy`.
        """
        fields: dict[str, JsonValue] = {
            "channelId": channel_id,
            "callId": call_id,
            "decision": decision,
        }
        if arguments_digest is not None:
            fields["argumentsDigest"] = arguments_digest
        ack = await self._link.ask_until_answered("decide", fields)
        if ack.event is None:
            raise ProtocolError("An ack of decide has no event.")
        return ack.event

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        """No task of the session fails in silence."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            broken = ProtocolError(f"The session broke: {error!r}")
            broken.__cause__ = error
            self._link.end(broken)
