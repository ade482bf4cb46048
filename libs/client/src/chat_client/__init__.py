"""The chat backend from Python: `ChatClient` for REST, `ChatSession` for all that is live."""

from chat_client.backoff import Backoff
from chat_client.client import AsyncChatClient, ChatClient
from chat_client.digest import arguments_digest
from chat_client.errors import (
    AgentFailedError,
    ChatError,
    FieldProblem,
    NotSubscribedError,
    Problem,
    ProtocolError,
    SessionClosedError,
    SlowConsumerError,
    TokenError,
    UnreachableError,
    UnsubscribedError,
)
from chat_client.exchange import Retries
from chat_client.frames import PresenceFrame as PresenceUpdate
from chat_client.frames import ReadFrame as ReadUpdate
from chat_client.frames import TypingFrame as TypingUpdate
from chat_client.link import ConnectionState
from chat_client.models import (
    Agent,
    AgentChanges,
    AgentFailed,
    Channel,
    ChannelDeleted,
    ChannelUpdated,
    Event,
    Generation,
    Member,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    Message,
    MessageCreated,
    MessageDeleted,
    MessageEdited,
    ReactionAdded,
    ReactionRemoved,
    Sender,
    Tool,
    ToolDecided,
    ToolFinished,
    ToolRequested,
    Usage,
)
from chat_client.replies import Delta
from chat_client.reply import ReplyStream
from chat_client.session import ChatSession
from chat_client.settings import SessionSettings

__all__ = [
    "Agent",
    "AgentChanges",
    "AgentFailed",
    "AgentFailedError",
    "AsyncChatClient",
    "Backoff",
    "Channel",
    "ChannelDeleted",
    "ChannelUpdated",
    "ChatClient",
    "ChatError",
    "ChatSession",
    "ConnectionState",
    "Delta",
    "Event",
    "FieldProblem",
    "Generation",
    "Member",
    "MemberJoined",
    "MemberLeft",
    "MemberUpdated",
    "Message",
    "MessageCreated",
    "MessageDeleted",
    "MessageEdited",
    "NotSubscribedError",
    "PresenceUpdate",
    "Problem",
    "ProtocolError",
    "ReactionAdded",
    "ReactionRemoved",
    "ReadUpdate",
    "ReplyStream",
    "Retries",
    "Sender",
    "SessionClosedError",
    "SessionSettings",
    "SlowConsumerError",
    "TokenError",
    "Tool",
    "ToolDecided",
    "ToolFinished",
    "ToolRequested",
    "TypingUpdate",
    "UnreachableError",
    "UnsubscribedError",
    "Usage",
    "arguments_digest",
]
