"""What a call does between question and result: tries, pauses, a renewed token. No I/O."""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Final

import httpx
from pydantic import ValidationError

from chat_client.backoff import Backoff, retry_after_of
from chat_client.errors import ChatError, Problem, ProtocolError, UnreachableError, unreadable
from chat_client.operations import Operation

UNWRITTEN: Final = frozenset({429, 503})
"""The API promises that what these answer was not written, or is the same write when repeated."""

UNCERTAIN: Final = frozenset({502, 504})
"""From in front of the API: the call may have gone through."""


@dataclass(frozen=True, slots=True)
class Retries:
    """When a call is tried again.

    Attributes:
        tries: in all.
        max_wait: seconds; an API that asks for a longer pause gets no further try.
    """

    tries: int = 5
    backoff: Backoff = field(default_factory=lambda: Backoff(base=0.25, cap=8.0))
    max_wait: float = 60.0


@dataclass(frozen=True, slots=True)
class Send:
    """Ask now; with a `fresh_token`, because one was refused."""

    fresh_token: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


type Step = Send | Pause
type Answer = httpx.Response | httpx.TransportError
type Exchange[T] = Generator[Step, Answer | None, T]


def exchange[T](operation: Operation[T], retries: Retries, *, renewable: bool) -> Exchange[T]:
    """Yields what is to be done next and is sent what came of each `Send`.

    Raises:
        ChatError: the API answered with a problem that another try does not mend.
        UnreachableError: no answer, and none may be waited for.
    """
    failures = 0
    renew = renewed = False
    may_have_happened = False
    while True:
        answer = yield Send(fresh_token=renew)
        renew = False
        if answer is None:
            raise ProtocolError("A Send was not answered.")
        if isinstance(answer, httpx.Response):
            status = answer.status_code
            gone = status == httpx.codes.NOT_FOUND and operation.gone_is_done
            if answer.is_success or (gone and may_have_happened):
                return _read(operation, answer)
            if status == httpx.codes.UNAUTHORIZED and renewable and not renewed:
                renew = renewed = True
                continue
        failures += 1
        may_have_happened |= not (
            isinstance(answer, httpx.Response) and answer.status_code in UNWRITTEN
        )
        pause = _pause(operation, answer, failures, retries)
        if pause is None:
            raise _error(operation, answer)
        yield Pause(pause)


def _pause[T](
    operation: Operation[T], answer: Answer, failures: int, retries: Retries
) -> float | None:
    """Seconds until the next try; None where there is to be none."""
    if failures >= retries.tries:
        return None
    if isinstance(answer, httpx.Response):
        repeat = answer.status_code in UNWRITTEN or (
            answer.status_code in UNCERTAIN and operation.repeatable
        )
        wanted = retry_after_of(answer.headers.get("Retry-After"))
    else:
        never_sent = isinstance(answer, httpx.ConnectError | httpx.ConnectTimeout)
        repeat = operation.repeatable or never_sent
        wanted = None
    if not repeat or (wanted is not None and wanted > retries.max_wait):
        return None
    # Jitter on top: those who were refused together do not come back together.
    return (wanted or 0.0) + retries.backoff.wait(failures)


def _read[T](operation: Operation[T], response: httpx.Response) -> T:
    try:
        return operation.read(response)
    except ValidationError as error:
        raise unreadable(error, f"{operation.method} {operation.path}") from None
    except ValueError:
        raise ProtocolError(f"{operation.method} {operation.path} is not JSON") from None


def _error[T](operation: Operation[T], answer: Answer) -> ChatError:
    if not isinstance(answer, httpx.Response):
        cause = str(answer) or type(answer).__name__
        error: ChatError = UnreachableError(f"{operation.method} {operation.path}: {cause}")
        error.__cause__ = answer
        return error
    return ChatError.of(
        _problem(answer), retry_after=retry_after_of(answer.headers.get("Retry-After"))
    )


def _problem(response: httpx.Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        # API Gateway or a proxy, before the API had a say.
        return Problem(status=response.status_code, title=response.reason_phrase)
