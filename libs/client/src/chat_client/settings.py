"""What a session waits for, and how much it keeps."""

from dataclasses import dataclass, field

from chat_client.backoff import Backoff


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """The defaults suit the deployed service.

    Attributes:
        open_seconds: for the first connection; later ones are tried for ever.
        answer_seconds: a question unanswered for so long means that the line is dead.
        ping_seconds: between pings; AWS ends a connection that is silent for 10 minutes. A push
            that got lost with nothing after it is noticed at the next one.
        backoff: between tries to connect.
        buffered_events: events of a channel that wait to be read.
        buffered_bytes: their JSON.
    """

    open_seconds: float = 30.0
    answer_seconds: float = 30.0
    ping_seconds: float = 30.0
    backoff: Backoff = field(default_factory=lambda: Backoff(base=0.5, cap=30.0))
    buffered_events: int = 2_000
    buffered_bytes: int = 4 * 1_048_576
