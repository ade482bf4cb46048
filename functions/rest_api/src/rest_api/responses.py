"""Builds answers: JSON, or the problem that an exception is."""

from collections.abc import Mapping
from traceback import format_tb

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError as NoSuchRouteError

from commons.errors import (
    ChatError,
    NotFoundError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnavailableError,
)
from commons.observability import count_unhandled, log
from commons.schemas import BaseSchema
from commons.schemas.problem import PROBLEM_TYPE_PREFIX, Problem, problem_of
from commons.services.channel_reader import Shown

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

_SERVER_ERROR = 500


def json_response(
    status: int, body: BaseSchema, headers: Mapping[str, str | list[str]] | None = None
) -> Response[str]:
    return Response(
        status_code=status,
        content_type=JSON,
        body=body.to_json(),
        headers={**_ALWAYS, **(headers or {})},
    )


def shown_response(
    status: int, shown: Shown[BaseSchema], headers: Mapping[str, str | list[str]] | None = None
) -> Response[str]:
    """The answer of every route about a channel: nothing of one is sent but what was judged."""
    return json_response(status, shown.content, headers)


def html_response(page: str) -> Response[str]:
    return Response(
        status_code=200,
        content_type="text/html; charset=utf-8",
        body=page,
        headers={"X-Content-Type-Options": "nosniff"},
    )


def accepted() -> Response[str]:
    """What was asked for happens later; there is nothing to say about it yet."""
    return Response(status_code=202, content_type=JSON, headers=dict(_ALWAYS), body="{}")


def no_content() -> Response[str]:
    return Response(status_code=204, headers=dict(_ALWAYS), body="")


def problem_response(error: Exception) -> Response[str]:
    """The answer to any exception; of an unforeseen one it says nothing but that it happened."""
    chat_error = _as_chat_error(error)
    if chat_error is None:
        # Frames of the stack only: an exception's own text may quote what a user wrote.
        log.error(
            "unforeseen exception",
            exception_name=type(error).__qualname__,
            stack="".join(format_tb(error.__traceback__)),
        )
        problem = Problem(
            type=PROBLEM_TYPE_PREFIX + "internal-error",
            title="Something went wrong on our side",
            status=500,
            detail="The request was not served. It is safe to repeat it with its clientMessageId.",
        )
    else:
        problem = problem_of(chat_error)
    if problem.status >= _SERVER_ERROR:
        count_unhandled()
    headers: dict[str, str | list[str]] = dict(_ALWAYS)
    if isinstance(chat_error, TooManyRequestsError | ServiceUnavailableError):
        headers["Retry-After"] = str(chat_error.retry_after)
    return Response(
        status_code=problem.status,
        content_type=PROBLEM_JSON,
        body=problem.to_json(),
        headers=headers,
    )


# Answers are one caller's, and a browser must not guess at what they are.
_ALWAYS: Mapping[str, str | list[str]] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


def _as_chat_error(error: Exception) -> ChatError | None:
    match error:
        case ChatError():
            return error
        case UnavailableError():
            return error.as_chat_error()
        case NoSuchRouteError():
            return NotFoundError("There is nothing at this path for this method.")
        case _:
            return None
