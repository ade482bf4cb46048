"""A chat service in memory that speaks the contract's REST and WebSocket, for tests of clients.

It holds what a session needs: tickets, the log, `subscribe` with `after`, `sync`, `heads`, deltas.
Faults are switches: a test sets them before it provokes them.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import rfc8785
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

type Json = dict[str, Any]  # frames are written as the wire has them: untyped JSON

USER = "alice"
REPLAY_LIMIT = 1_000
PAGE_LIMIT = 100
MODEL = "demo"


AGENT = {"id": "#agent", "kind": "agent"}


def problem(status: int, detail: str = "", **fields: object) -> Json:
    return {"type": "urn:x", "title": "Problem", "status": status, "detail": detail, **fields}


class RefusedError(Exception):
    def __init__(self, status: int, **fields: object) -> None:
        super().__init__(status)
        self.problem = problem(status, "refused", **fields)


class FakeChannel:
    def __init__(self, channel_id: str) -> None:
        self.channel_id = channel_id
        self.name = channel_id
        self.mode = "always"
        self.role = "owner"
        self.events: list[Json] = []
        self.by_client_message_id: dict[str, Json] = {}
        self.subscribers: set[ServerConnection] = set()

    @property
    def head(self) -> int:
        return len(self.events)


class FakeChat:
    """The service.

    Attributes:
        lose_pushes: how many of the next pushes of events get lost.
        says_online: whether the ack of `subscribe` says who is there.
        refusals: answered to the next actions of that name, one each, instead of serving them.
        ticket_statuses: answered to the next requests for a ticket.
        tools: what the deployment offers.
        silent: answers no frame.
        frames: what clients sent, in order; `received` says when there is more.
        requests: what clients asked by REST, in order.
    """

    def __init__(self) -> None:
        self.channels: dict[str, FakeChannel] = {}
        self.connections: set[ServerConnection] = set()
        self.frames: list[Json] = []
        self.requests: list[httpx.Request] = []
        self.lose_pushes = 0
        self.says_online = True
        self.silent = False
        self.refusals: dict[str, list[Json]] = {}
        self.ticket_statuses: list[int] = []
        self.tools: list[Json] = []
        self.received = asyncio.Condition()
        self.transport = httpx.MockTransport(self._rest)
        self._tickets: set[str] = set()
        self._numbers = itertools.count(1)
        self._sending: dict[ServerConnection, asyncio.Queue[str]] = {}

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        """The WebSocket's URL while it serves."""
        async with serve(
            self._connected, "127.0.0.1", 0, process_request=self._handshake, ping_interval=None
        ) as server:
            yield f"ws://127.0.0.1:{_port(server)}/socket"
            self.cut()

    def channel(self, channel_id: str = "room") -> FakeChannel:
        return self.channels.setdefault(channel_id, FakeChannel(channel_id))

    def append(
        self,
        channel_id: str = "room",
        text: str = "hello",
        *,
        client_message_id: str | None = None,
        event_type: str = "message.created",
        data: Json | None = None,
        sender: Json | None = None,
    ) -> Json:
        """Writes an event and pushes it to whoever is subscribed."""
        channel = self.channel(channel_id)
        event: Json = {
            "channelId": channel_id,
            "seq": channel.head + 1,
            "type": event_type,
            "createdAt": "2026-01-02T03:04:05.678Z",
            "sender": sender or {"id": USER, "kind": "user"},
            "data": data if data is not None else {"text": text},
        }
        if client_message_id is not None:
            event["clientMessageId"] = client_message_id
            channel.by_client_message_id[client_message_id] = event
        channel.events.append(event)
        self.push({"type": "events", "events": [event]}, channel_id)
        return event

    def reply(
        self, text: str, reply_to: int, channel_id: str = "room", generation: int = 1
    ) -> Json:
        """An agent's final message."""
        return self.append(
            channel_id,
            sender={"id": "#agent", "kind": "agent"},
            data={
                "text": text,
                "replyTo": reply_to,
                "generation": generation,
                "finishReason": "stop",
                "usage": {"modelId": MODEL, "inputTokens": 1, "outputTokens": 1},
            },
        )

    def call(
        self,
        reply_to: int = 1,
        *,
        tool: str = "notes.add",
        arguments: Json | None = None,
        approval: str = "requester",
        channel_id: str = "room",
    ) -> str:
        """The agent asks for a call; answers its id."""
        call_id = f"call-{next(self._numbers)}"
        data: Json = {
            "target": reply_to,
            "generation": 1,
            "callId": call_id,
            "tool": tool,
            "arguments": {"text": "milk"} if arguments is None else arguments,
            "approval": approval,
        }
        if approval != "none":
            data["expiresAt"] = "2030-01-01T00:00:00.000Z"
        self.append(channel_id, event_type="tool.requested", data=data, sender=AGENT)
        return call_id

    def decide(
        self,
        call_id: str,
        decision: str,
        *,
        by: str = USER,
        channel_id: str = "room",
        **fields: str,
    ) -> Json:
        """As the contract has it; `fields` as of the request.

        Raises:
            RefusedError: no such call, not the right person, other arguments, or decided before.
        """
        events = self.channel(channel_id).events
        about = [event for event in events if event["data"].get("callId") == call_id]
        request = next((each for each in about if each["type"] == "tool.requested"), None)
        if request is None:
            raise RefusedError(404)
        data: Json = request["data"]
        asker = events[data["target"] - 1]["sender"]["id"]
        owner = USER if self.channel(channel_id).role == "owner" else "olga"
        has_right = {"anyone": True, "requester": by == asker, "owner": by == owner}
        if not has_right.get(data["approval"], False):
            raise RefusedError(403)
        digest = fields.get("argumentsDigest")
        if digest is not None and digest != sha256(rfc8785.dumps(data["arguments"])).hexdigest():
            raise RefusedError(409)
        decided = {"approve": "approved", "deny": "denied"}[decision]
        before = next((each for each in about if each["type"] == "tool.decided"), None)
        if before is None:
            sender = {"id": by, "kind": "user"}
            place = {name: data[name] for name in ("target", "generation", "callId")}
            return self.append(
                channel_id,
                event_type="tool.decided",
                data={**place, "decision": decided},
                sender=sender,
            )
        if (before["data"]["decision"], before["sender"]["id"]) == (decided, by):
            return before
        raise RefusedError(
            409, decision=before["data"]["decision"], decidedBy=before["sender"]["id"]
        )

    def finish(
        self, call_id: str, outcome: str = "ok", result: str | None = "noted", **fields: object
    ) -> None:
        """What a call came to."""
        data = {"target": 1, "generation": 1, "callId": call_id, "outcome": outcome, **fields}
        if result is not None:
            data["result"] = result
        self.append(event_type="tool.finished", data=data, sender=AGENT)

    def delta(
        self, text: str, index: int, reply_to: int, channel_id: str = "room", **fields: object
    ) -> None:
        frame = {"channelId": channel_id, "replyTo": reply_to, "generation": 1, "index": index}
        self.push({"type": "delta", **frame, "text": text, **fields}, channel_id)

    def push(self, frame: Json, channel_id: str = "room") -> None:
        """To the channel's subscribers."""
        if frame["type"] == "events" and self.lose_pushes:
            self.lose_pushes -= 1
            return
        for connection in self.channel(channel_id).subscribers:
            self._send(connection, frame)

    def push_raw(self, message: str) -> None:
        """To everybody who is connected."""
        for connection in self.connections:
            self._sending[connection].put_nowait(message)

    def end_subscriptions(self, channel_id: str, reason: str) -> None:
        self.push({"type": "unsubscribed", "channelId": channel_id, "reason": reason}, channel_id)
        self.channel(channel_id).subscribers.clear()

    def cut(self) -> None:
        """Ends every connection without a goodbye."""
        for connection in list(self.connections):
            connection.transport.abort()

    def actions(self, action: str) -> list[Json]:
        return [frame for frame in self.frames if frame.get("action") == action]

    # REST, as far as a session needs it.

    def _rest(self, request: httpx.Request) -> httpx.Response:  # noqa: PLR0911 - one a route
        self.requests.append(request)
        body: Json = json.loads(request.content) if request.content else {}
        params = dict(request.url.params)
        match request.method, *request.url.path.removeprefix("/v1/").split("/"):
            case "POST", "tickets":
                return self._ticket()
            case "GET", "me":
                return httpx.Response(200, json={"userId": USER})
            case "GET", "tools":
                return httpx.Response(200, json={"items": self.tools})
            case "GET", "channels":
                items = [_described(channel) for channel in self.channels.values()]
                return httpx.Response(200, json={"items": items, "nextCursor": None})
            case "POST", "channels":
                channel = self.channel(f"channel-{len(self.channels) + 1}")
                channel.name = body["name"]
                return httpx.Response(201, json=_described(channel))
            case method, "channels", channel_id, *rest if channel_id in self.channels:
                return self._of_channel(self.channels[channel_id], method, rest, params, body)
            case _:
                return httpx.Response(404, json=problem(404))

    def _of_channel(  # noqa: C901, PLR0911 - one answer a route
        self, channel: FakeChannel, method: str, rest: list[str], params: dict[str, str], body: Json
    ) -> httpx.Response:
        name = channel.channel_id
        match method, *rest:
            case ("GET",):
                return httpx.Response(200, json=_described(channel))
            case "GET", "events":
                page = _page(channel, int(params["after"]), int(params.get("limit", 50)))
                return httpx.Response(200, json=page)
            case "GET", "presence":
                return httpx.Response(200, json={"items": [], "nextCursor": None})
            case "POST", "messages":
                return httpx.Response(201, json=self._post(channel, body)[0])
            case "GET", "messages":
                return httpx.Response(200, json=_messages(channel, params))
            case "PATCH", "messages", seq:
                data = {"target": int(seq), "text": body["text"]}
                self.append(name, event_type="message.edited", data=data)
                return httpx.Response(200, json=_message(channel.events[int(seq) - 1]))
            case "DELETE", "messages", seq:
                self.append(name, event_type="message.deleted", data={"target": int(seq)})
                return httpx.Response(204)
            case ("PUT" | "DELETE") as verb, "messages", seq, "reactions", emoji:
                event_type = "reaction.added" if verb == "PUT" else "reaction.removed"
                data = {"target": int(seq), "emoji": unquote(emoji)}
                self.append(name, event_type=event_type, data=data)
                return httpx.Response(204)
            case "POST", "tools", call_id, "decision":
                try:
                    event = self.decide(call_id, channel_id=name, **body)
                except RefusedError as error:
                    return httpx.Response(error.problem["status"], json=error.problem)
                return httpx.Response(200, json=event)
            case "POST", "messages", _, "regenerate":
                return httpx.Response(202, json={})
            case _:
                return httpx.Response(404, json=problem(404))

    def _ticket(self) -> httpx.Response:
        status = self.ticket_statuses.pop(0) if self.ticket_statuses else 201
        if status != 201:
            return httpx.Response(status, json=problem(status))
        ticket = f"ticket-{next(self._numbers)}"
        self._tickets.add(ticket)
        return httpx.Response(201, json={"ticket": ticket, "expiresIn": 60})

    def _post(self, channel: FakeChannel, body: Json) -> tuple[Json, bool]:
        known = channel.by_client_message_id.get(body.get("clientMessageId", ""))
        if known is not None:
            return known, True
        event = self.append(
            channel.channel_id, body["text"], client_message_id=body.get("clientMessageId")
        )
        return event, False

    # The WebSocket.

    def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        ticket = parse_qs(urlsplit(request.path).query).get("ticket", [""])[0]
        if ticket not in self._tickets:
            return connection.respond(403, "")
        self._tickets.remove(ticket)
        return None

    async def _connected(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._sending[connection] = queue
        sending = asyncio.create_task(_send_all(connection, queue))
        try:
            async for message in connection:
                frame: Json = json.loads(message)
                async with self.received:
                    self.frames.append(frame)
                    self.received.notify_all()
                if not self.silent:
                    self._serve(connection, frame)
        except ConnectionClosed:
            pass  # the client, or the test, cut the line
        finally:
            sending.cancel()
            self.connections.discard(connection)
            del self._sending[connection]
            for channel in self.channels.values():
                channel.subscribers.discard(connection)

    def _send(self, connection: ServerConnection, frame: Json) -> None:
        queue = self._sending.get(connection)
        if queue is not None:
            queue.put_nowait(json.dumps(frame))

    def _serve(self, connection: ServerConnection, frame: Json) -> None:
        action = frame["action"]
        refusals = self.refusals.get(action)
        if refusals:
            return self._answer(connection, frame, {"type": "error", "error": refusals.pop(0)})
        if action in {"ping", "authenticate"}:
            return self._answer(connection, frame, self._without_channel(connection, frame))
        channel = self.channels.get(frame["channelId"])
        if channel is None:
            return self._answer(connection, frame, {"type": "error", "error": problem(404)})
        serve_action: dict[str, Callable[[ServerConnection, FakeChannel, Json], Json | None]] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "sync": lambda _connection, channel, frame: {
                "type": "sync",
                "channelId": channel.channel_id,
                **_page(channel, frame["after"], frame.get("limit", 50)),
            },
            "sendmessage": self._sendmessage,
            "typing": lambda *_arguments: None,
            "read": lambda *_arguments: {"type": "ack"},
            "cancel": lambda *_arguments: {"type": "ack"},
            "decide": self._decide,
        }
        answer = serve_action[action](connection, channel, frame)
        if answer is not None:
            self._answer(connection, frame, answer)
        return None

    def _answer(self, connection: ServerConnection, frame: Json, answer: Json) -> None:
        self._send(connection, {**answer, "requestId": frame.get("requestId")})

    def _without_channel(self, connection: ServerConnection, frame: Json) -> Json:
        if frame["action"] == "authenticate":
            return {"type": "ack", "expiresAt": "2030-01-01T00:00:00.000Z"}
        heads = {
            channel.channel_id: channel.head
            for channel in self.channels.values()
            if connection in channel.subscribers
        }
        return {"type": "pong", **({"heads": heads} if frame.get("heads") else {})}

    def _subscribe(self, connection: ServerConnection, channel: FakeChannel, frame: Json) -> Json:
        ack: Json = {"type": "ack", "channelId": channel.channel_id}
        after = frame.get("after")
        if after is not None:
            events = channel.events[after : after + REPLAY_LIMIT]
            for start in range(0, len(events), PAGE_LIMIT):
                batch = events[start : start + PAGE_LIMIT]
                self._send(connection, {"type": "events", "events": batch})
            through = after + len(events)
            ack |= {"through": through, "hasMore": through < channel.head}
        channel.subscribers.add(connection)
        if self.says_online:
            ack["online"] = [USER]
        return ack

    def _unsubscribe(self, connection: ServerConnection, channel: FakeChannel, _: Json) -> Json:
        channel.subscribers.discard(connection)
        return {"type": "ack", "channelId": channel.channel_id}

    def _decide(self, _: ServerConnection, channel: FakeChannel, frame: Json) -> Json:
        fields = {name: frame[name] for name in ("decision", "argumentsDigest") if name in frame}
        try:
            event = self.decide(frame["callId"], channel_id=channel.channel_id, **fields)
        except RefusedError as error:
            return {"type": "error", "error": error.problem}
        return {"type": "ack", "channelId": channel.channel_id, "seq": event["seq"], "event": event}

    def _sendmessage(self, _: ServerConnection, channel: FakeChannel, frame: Json) -> Json:
        event, duplicate = self._post(channel, frame)
        return {
            "type": "ack",
            "channelId": channel.channel_id,
            "seq": event["seq"],
            "duplicate": duplicate,
        }


async def _send_all(connection: ServerConnection, queue: asyncio.Queue[str]) -> None:
    try:
        while True:
            await connection.send(await queue.get())
    except ConnectionClosed:
        pass  # whoever reads the connection notices


def _page(channel: FakeChannel, after: int, limit: int) -> Json:
    items = channel.events[after : after + limit]
    return {
        "items": items,
        "lastSeq": channel.head,
        "hasMore": after + len(items) < channel.head,
    }


def _message(event: Json) -> Json:
    kept = ("channelId", "seq", "createdAt", "sender")
    return {**{name: event[name] for name in kept}, **event["data"], "reactions": {}}


def _messages(channel: FakeChannel, params: dict[str, str]) -> Json:
    """The newest page, or the newest before `before`; as they were written."""
    before, limit = int(params.get("before", 10**9)), int(params.get("limit", 50))
    found = [event for event in channel.events if event["type"] == "message.created"]
    found = [event for event in found if event["seq"] < before]
    more = "older" if len(found) > limit else None
    return {"items": [_message(event) for event in found[-limit:]], "nextCursor": more}


def _described(channel: FakeChannel) -> Json:
    return {
        "channelId": channel.channel_id,
        "name": channel.name,
        "createdAt": "2026-01-02T03:04:05.678Z",
        "createdBy": USER,
        "role": channel.role,
        "memberCount": 1,
        "lastSeq": channel.head,
        "readSeq": 0,
        "unreadCount": 0,
        "agent": {"mode": channel.mode, "modelId": MODEL},
    }


def _port(server: Server) -> int:
    port = next(iter(server.sockets)).getsockname()[1]
    assert isinstance(port, int)
    return port
