"""Everything that this package raises is a ChatError."""

from typing import Literal

from pydantic import ValidationError

from chat_client.models import Wire

type EndReason = Literal["removed", "deleted", "gone"] | str
"""`gone`: found out after a lost connection; the API does not say which of the two it was."""


class FieldProblem(Wire):
    field: str
    message: str


class Problem(Wire):
    """RFC 9457. What a problem holds besides is in `model_extra`."""

    type: str = "about:blank"
    title: str = ""
    status: int
    detail: str = ""
    errors: tuple[FieldProblem, ...] = ()


class ChatError(Exception):
    """The API answered with a problem, or one of the subclasses below says what else happened.

    Attributes:
        problem: what the API said; None where it said nothing.
        retry_after: seconds, where the API named them.
    """

    def __init__(
        self, message: str, *, problem: Problem | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.problem = problem
        self.retry_after = retry_after

    @property
    def status(self) -> int | None:
        """The HTTP status; in an error frame, the one that REST would have answered."""
        return self.problem.status if self.problem else None

    @classmethod
    def of(cls, problem: Problem, *, retry_after: float | None = None) -> "ChatError":
        said = problem.detail or problem.title or "no reason given"
        fields = "".join(f"; {error.field}: {error.message}" for error in problem.errors)
        return ChatError(
            f"{problem.status}: {said}{fields}", problem=problem, retry_after=retry_after
        )


class UnreachableError(ChatError):
    """No answer, after all tries; whether the last one arrived is not known."""


class TokenError(ChatError):
    """The callable that gives tokens raised; its exception is the cause."""


class ProtocolError(ChatError):
    """An answer that is not what the contract says."""


class SessionClosedError(ChatError):
    """The session was closed, or had not been opened."""


class NotSubscribedError(ChatError):
    """`subscribe` to the channel first."""


class UnsubscribedError(ChatError):
    """The server ended the subscription: nothing more comes of this channel."""

    def __init__(self, channel_id: str, reason: EndReason) -> None:
        super().__init__(f"No longer subscribed to channel {channel_id}: {reason}.")
        self.channel_id = channel_id
        self.reason = reason


class SlowConsumerError(ChatError):
    """Events came faster than they were read, and the bounded buffer was full.

    All events up to `after` were handed out. Nothing is lost: reading on (a new `events(…)` of the
    same channel) fetches what follows from the log.
    """

    def __init__(self, channel_id: str, after: int, limit: int) -> None:
        super().__init__(
            f"Channel {channel_id}: more than {limit} events, or their bytes, waited to be read. "
            f"Read faster, or unsubscribe. To go on after event {after}, read again."
        )
        self.channel_id = channel_id
        self.after = after


class AgentFailedError(ChatError):
    """The agent gave up on a reply; `reason` is that of the event `agent.failed`."""

    def __init__(self, channel_id: str, reply_to: int, reason: str) -> None:
        super().__init__(f"The agent failed to answer message {reply_to}: {reason}.")
        self.channel_id = channel_id
        self.reply_to = reply_to
        self.reason = reason


def unreadable(error: ValidationError, what: str) -> ProtocolError:
    """Names the fields, not their values: these may be somebody's message."""
    fields = ", ".join(".".join(str(part) for part in entry["loc"]) for entry in error.errors())
    return ProtocolError(f"{what} is not what the contract says: {fields}")
