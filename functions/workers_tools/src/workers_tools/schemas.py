"""What the function is invoked with, and what it answers."""

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from commons.schemas.base import BaseSchema

type Reason = Literal[
    "unreachable", "timeout", "refused_address", "too_large", "bad_answer", "tool_error"
]
"""Why a call has no result; `tool_error`: the tool itself says that it failed."""


class _Invocation(BaseSchema):
    """A newer caller may say more."""

    model_config = ConfigDict(extra="ignore")


class CallRequest(_Invocation):
    """A call that is to be made once.

    Attributes:
        server: its name in the stack's configuration; `tool`: the tool's name there.
        call_id: goes along as idempotency key.
        timeout_seconds: what the caller waits for; None: the stack's own bound. The smaller counts.
    """

    action: Literal["call"]
    server: str
    tool: str
    arguments: dict[str, Any]
    call_id: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
    timeout_seconds: Annotated[float, Field(gt=0)] | None = None


class RefreshRequest(_Invocation):
    """Ask every server what it offers."""

    action: Literal["refresh"]


type Invocation = CallRequest | RefreshRequest

INVOCATION: Final[TypeAdapter[Invocation]] = TypeAdapter(
    Annotated[Invocation, Field(discriminator="action")]
)


class CallAnswer(BaseSchema):
    """What came of a call.

    Attributes:
        text: for the model: the result, or why there is none.
        truncated: the tool said more.
        reason: of an outcome `error`.
    """

    outcome: Literal["ok", "error"]
    text: str
    truncated: bool = False
    reason: Reason | None = None


class RefreshAnswer(BaseSchema):
    """What the catalogue holds now.

    Attributes:
        servers: that are configured; `tools`: that were read of them.
        unread: names of servers that did not answer; their rows are as before.
    """

    servers: int
    tools: int
    unread: list[str]
