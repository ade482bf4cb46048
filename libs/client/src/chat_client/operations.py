"""Every REST operation, once: what is asked, how the answer is read, and whether it may be repeated.

Nothing here does I/O. `ChatClient` and `AsyncChatClient` carry these functions as methods.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

import httpx
from pydantic import BaseModel, JsonValue

from chat_client.models import (
    EVENT,
    AgentChanges,
    Channel,
    ChannelPage,
    Event,
    EventPage,
    GenerationList,
    Health,
    Me,
    Member,
    MemberPage,
    Message,
    MessagePage,
    PresencePage,
    Role,
    Ticket,
    ToolList,
    UsagePage,
)

type Settings = AgentChanges | Mapping[str, JsonValue]
"""An agent's; a mapping has the wire's names (`modelId`) or Python's (`model_id`)."""


@dataclass(frozen=True, slots=True)
class Operation[T]:
    """One call.

    Attributes:
        repeatable: calling twice does what calling once does.
        gone_is_done: a 404 at a repeated try says that an earlier one succeeded.
        public: shows no token.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, JsonValue] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    gone_is_done: bool = False
    public: bool = False


def new_id() -> str:
    """An id that is fit for a `clientMessageId` or an `Idempotency-Key`."""
    return uuid.uuid4().hex


def _model[M: BaseModel](model: type[M]) -> Callable[[httpx.Response], M]:
    return lambda response: model.model_validate_json(response.content)


def _event(response: httpx.Response) -> Event:
    return EVENT.validate_json(response.content)


def _nothing(_response: httpx.Response) -> None:
    return None


def _text(response: httpx.Response) -> str:
    return response.text


def _document(response: httpx.Response) -> dict[str, JsonValue]:
    document: dict[str, JsonValue] = json.loads(response.content)
    return document


def _given(**values: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in values.items() if value is not None}


def _agent(agent: Settings) -> dict[str, JsonValue]:
    """Only what was set, an explicit None included: it clears the field."""
    changes = agent if isinstance(agent, AgentChanges) else AgentChanges.model_validate(agent)
    wire: dict[str, JsonValue] = changes.model_dump(mode="json", exclude_unset=True)
    return wire


def _channel(channel_id: str, rest: str = "") -> str:
    return f"/v1/channels/{quote(channel_id, safe='')}{rest}"


def _message(channel_id: str, seq: int, rest: str = "") -> str:
    return _channel(channel_id, f"/messages/{seq}{rest}")


def create_channel(
    name: str,
    *,
    members: list[str] | None = None,
    agent: Settings | None = None,
    idempotency_key: str | None = None,
) -> Operation[Channel]:
    """Creates a channel with the caller as its owner.

    `members` are user ids, 40 at most. The same `idempotency_key` again within 24 h answers with
    the first channel; without one, each call is its own and only its tries share a key.
    """
    body: dict[str, JsonValue] = {"name": name}
    if members is not None:
        body["members"] = list(members)
    if agent is not None:
        body["agent"] = _agent(agent)
    key = idempotency_key or new_id()
    return Operation(
        "POST", "/v1/channels", _model(Channel), body=body, headers={"Idempotency-Key": key}
    )


def list_channels(*, limit: int | None = None, cursor: str | None = None) -> Operation[ChannelPage]:
    """A page of the caller's channels."""
    params = _given(limit=limit, cursor=cursor)
    return Operation("GET", "/v1/channels", _model(ChannelPage), params)


def get_channel(channel_id: str) -> Operation[Channel]:
    return Operation("GET", _channel(channel_id), _model(Channel))


def update_channel(
    channel_id: str, *, name: str | None = None, agent: Settings | None = None
) -> Operation[Channel]:
    """Renames the channel or changes its agent (owners): fields not named stay as they are."""
    body: dict[str, JsonValue] = {}
    if name is not None:
        body["name"] = name
    if agent is not None:
        body["agent"] = _agent(agent)
    return Operation("PATCH", _channel(channel_id), _model(Channel), body=body)


def delete_channel(channel_id: str) -> Operation[None]:
    """Deletes the channel for everyone (owners)."""
    return Operation("DELETE", _channel(channel_id), _nothing, gone_is_done=True)


def list_members(
    channel_id: str, *, limit: int | None = None, cursor: str | None = None
) -> Operation[MemberPage]:
    params = _given(limit=limit, cursor=cursor)
    return Operation("GET", _channel(channel_id, "/members"), _model(MemberPage), params)


def put_member(channel_id: str, user_id: str, role: Role = "member") -> Operation[Member]:
    """Adds a member or changes a member's role (owners)."""
    path = _channel(channel_id, f"/members/{quote(user_id, safe='')}")
    return Operation("PUT", path, _model(Member), body={"role": role})


def remove_member(channel_id: str, user_id: str) -> Operation[None]:
    """Removes a member (owners), or oneself."""
    path = _channel(channel_id, f"/members/{quote(user_id, safe='')}")
    return Operation("DELETE", path, _nothing, gone_is_done=True)


def post_message(
    channel_id: str,
    text: str,
    *,
    client_message_id: str | None = None,
    reply_to: int | None = None,
    metadata: Mapping[str, JsonValue] | None = None,
) -> Operation[Event]:
    """Posts a message of at most 16,000 code points.

    The same `client_message_id` again in this channel, however late, answers with the first event
    and writes nothing; without one, each call is its own message. `reply_to` is the seq of a
    message, `metadata` at most 2 KiB of JSON.
    """
    body: dict[str, JsonValue] = {"text": text, "clientMessageId": client_message_id or new_id()}
    if reply_to is not None:
        body["replyTo"] = reply_to
    if metadata is not None:
        body["metadata"] = dict(metadata)
    return Operation("POST", _channel(channel_id, "/messages"), _event, body=body)


def list_messages(
    channel_id: str,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    before: int | None = None,
    after: int | None = None,
) -> Operation[MessagePage]:
    """The newest page, or the newest before `before`, or the oldest after `after` (not both)."""
    params = _given(limit=limit, cursor=cursor, before=before, after=after)
    return Operation("GET", _channel(channel_id, "/messages"), _model(MessagePage), params)


def get_message(channel_id: str, seq: int) -> Operation[Message]:
    return Operation("GET", _message(channel_id, seq), _model(Message))


def edit_message(channel_id: str, seq: int, text: str) -> Operation[Message]:
    """Changes the text of one's own message."""
    return Operation("PATCH", _message(channel_id, seq), _model(Message), body={"text": text})


def delete_message(channel_id: str, seq: int) -> Operation[None]:
    """Removes a message's text for ever (its sender, or an owner)."""
    return Operation("DELETE", _message(channel_id, seq), _nothing)


def add_reaction(channel_id: str, seq: int, emoji: str) -> Operation[None]:
    path = _message(channel_id, seq, f"/reactions/{quote(emoji, safe='')}")
    return Operation("PUT", path, _nothing)


def remove_reaction(channel_id: str, seq: int, emoji: str) -> Operation[None]:
    path = _message(channel_id, seq, f"/reactions/{quote(emoji, safe='')}")
    return Operation("DELETE", path, _nothing)


def regenerate_reply(channel_id: str, seq: int) -> Operation[None]:
    """Asks for another reply to the question that the agent's message `seq` answers."""
    path = _message(channel_id, seq, "/regenerate")
    return Operation("POST", path, _nothing, repeatable=False)


def list_generations(channel_id: str) -> Operation[GenerationList]:
    """The replies that are being written or wait to be."""
    return Operation("GET", _channel(channel_id, "/generations"), _model(GenerationList))


def cancel_generations(channel_id: str, *, reply_to: int | None = None) -> Operation[None]:
    """Ends the running replies: all up to now, or the one to the message `reply_to`."""
    body: dict[str, JsonValue] = {} if reply_to is None else {"replyTo": reply_to}
    return Operation("POST", _channel(channel_id, "/generations/cancel"), _nothing, body=body)


def list_tools() -> Operation[ToolList]:
    """The tools that the deployment offers to agents."""
    return Operation("GET", "/v1/tools", _model(ToolList))


def decide_call(
    channel_id: str,
    call_id: str,
    decision: Literal["approve", "deny"],
    *,
    arguments_digest: str | None = None,
) -> Operation[Event]:
    """Says whether a call that the agent asked for is made; answers the `tool.decided` that stands.

    `arguments_digest` (`chat_client.digest.arguments_digest`) is refused where it is not that of
    the call. A call that was decided before: 409, whose problem says `decision` and `decidedBy`;
    the same decision by the same user again answers the first one.
    """
    body: dict[str, JsonValue] = {"decision": decision}
    if arguments_digest is not None:
        body["argumentsDigest"] = arguments_digest
    path = _channel(channel_id, f"/tools/{quote(call_id, safe='')}/decision")
    return Operation("POST", path, _event, body=body)


def get_usage(
    channel_id: str,
    *,
    from_day: str | None = None,
    to_day: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Operation[UsagePage]:
    """What replies have cost (owners): by UTC day (`YYYY-MM-DD`), who asked, and model."""
    params = _given(**{"from": from_day, "to": to_day, "limit": limit, "cursor": cursor})
    return Operation("GET", _channel(channel_id, "/usage"), _model(UsagePage), params)


def list_events(
    channel_id: str, *, after: int = 0, limit: int | None = None
) -> Operation[EventPage]:
    """The log after the event `after`."""
    params = _given(after=after, limit=limit)
    return Operation("GET", _channel(channel_id, "/events"), _model(EventPage), params)


def set_read_mark(channel_id: str, seq: int) -> Operation[None]:
    """Says that the caller has read up to `seq`; a mark never moves back."""
    return Operation("PUT", _channel(channel_id, "/read"), _nothing, body={"seq": seq})


def get_presence(channel_id: str) -> Operation[PresencePage]:
    """Who has a live subscription to the channel right now."""
    return Operation("GET", _channel(channel_id, "/presence"), _model(PresencePage))


def issue_ticket() -> Operation[Ticket]:
    """A ticket for one WebSocket; `ChatSession` gets its own."""
    return Operation("POST", "/v1/tickets", _model(Ticket))


def get_me() -> Operation[Me]:
    return Operation("GET", "/v1/me", _model(Me))


def get_health() -> Operation[Health]:
    return Operation("GET", "/v1/health", _model(Health), public=True)


def get_open_api() -> Operation[dict[str, JsonValue]]:
    return Operation("GET", "/openapi.json", _document, public=True)


def get_swagger() -> Operation[str]:
    return Operation("GET", "/swagger", _text, public=True)


def get_web_client() -> Operation[str]:
    return Operation("GET", "/", _text, public=True)
