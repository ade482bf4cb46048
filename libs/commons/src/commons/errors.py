"""Domain errors. Each names the HTTP status it becomes; one table at each edge serialises them.

`detail` is for the caller: it never holds a table's name, an ARN or another exception's text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field; `field` is its camelCase path (`agent.maxTokens`)."""

    field: str
    message: str


class ChatError(Exception):
    """A request that cannot be served as it stands.

    Attributes:
        status: the HTTP status.
        code: the last segment of the problem's `type` URI.
        title: a sentence about the kind of error, the same for each.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)


class MalformedRequestError(ChatError):
    """The request cannot be read: no JSON, a bad cursor."""

    status = 400
    code = "malformed-request"
    title = "The request cannot be read"


class UnauthenticatedError(ChatError):
    """No valid credential."""

    status = 401
    code = "unauthenticated"
    title = "A valid token is needed"


class ForbiddenError(ChatError):
    """A member without the role."""

    status = 403
    code = "forbidden"
    title = "The caller's role does not allow this"


class NotFoundError(ChatError):
    """Unknown, or not for the caller to know."""

    status = 404
    code = "not-found"
    title = "There is no such thing"


class ChannelNotFoundError(NotFoundError):
    """No such channel, or the caller is no member of it: indistinguishable on purpose."""

    def __init__(self) -> None:
        super().__init__("There is no such channel, or you are no member of it.")


class MessageNotFoundError(NotFoundError):
    def __init__(self) -> None:
        super().__init__("There is no such message in this channel.")


class CallNotFoundError(NotFoundError):
    def __init__(self) -> None:
        super().__init__("There is no such call of a tool in this channel.")


class ConflictError(ChatError):
    """The state of the thing does not allow this."""

    status = 409
    code = "conflict"
    title = "The request conflicts with the current state"


class DecidedBeforeError(ConflictError):
    """Another decision came first.

    Attributes:
        decision: the one that stands.
        decided_by: the user; None where it was no person's.
    """

    def __init__(self, decision: str, decided_by: str | None) -> None:
        super().__init__("This call was decided before.")
        self.decision = decision
        self.decided_by = decided_by


class TooLargeError(ChatError):
    """A field passes its size limit."""

    status = 413
    code = "too-large"
    title = "The request is too large"


class UnsupportedMediaTypeError(ChatError):
    """The body is not JSON."""

    status = 415
    code = "unsupported-media-type"
    title = "The body must be application/json"


class InvalidRequestError(ChatError):
    """A field is wrong, or unknown."""

    status = 422
    code = "invalid-request"
    title = "A field is wrong"

    @classmethod
    def of(cls, field: str, message: str) -> "InvalidRequestError":
        return cls(f"{field}: {message}", errors=[FieldError(field, message)])


class TooManyRequestsError(ChatError):
    """Throttled.

    Attributes:
        retry_after: seconds.
    """

    status = 429
    code = "too-many-requests"
    title = "Too many requests"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class ServiceUnavailableError(ChatError):
    """Something that we depend on did not serve us.

    Attributes:
        retry_after: seconds.
    """

    status = 503
    code = "unavailable"
    title = "The service cannot be reached right now"

    def __init__(self, detail: str, *, retry_after: int = 2) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class UnavailableError(Exception):
    """Storage, a queue or the token's issuer did not serve us: the same call works later.

    Nobody's request and nobody's data is at fault. An edge answers `as_chat_error()`; a worker
    hands its record or message back and parks nothing.
    """

    def as_chat_error(self) -> ChatError:
        return ServiceUnavailableError("Nothing is known to be wrong with the request: try again.")
