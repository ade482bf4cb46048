"""RFC 9457 problem details: the one shape of every error, by REST and in `error` frames."""

from typing import Final

from commons.errors import ChatError, DecidedBeforeError
from commons.schemas.base import BaseSchema

PROBLEM_TYPE_PREFIX = "urn:problem-type:chat:"
"""Followed by an error's `code`; docs/problems.md explains each."""


MAX_FIELD_PROBLEMS: Final = 20
MAX_PROBLEM_BYTES: Final = 16_384
MAX_CHARACTERS: Final = 1_000
"""Of one text in a problem: as JSON 6 KB at most."""


class FieldProblem(BaseSchema):
    """What is wrong with one field; `field` is its camelCase path."""

    field: str
    message: str


class Problem(BaseSchema):
    """`decision` and `decided_by` say what came before a decision that was refused for it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] | None = None
    decision: str | None = None
    decided_by: str | None = None


def problem_of(error: ChatError) -> Problem:
    """The problem that an error is: 20 fields and 16 KB of JSON at most, whatever the input."""
    fields = [
        FieldProblem(field=_bounded(each.field), message=_bounded(each.message))
        for each in error.errors[:MAX_FIELD_PROBLEMS]
    ]
    problem = Problem(
        type=PROBLEM_TYPE_PREFIX + error.code,
        title=error.title,
        status=error.status,
        detail=_bounded(error.detail),
        errors=fields or None,
    )
    if isinstance(error, DecidedBeforeError):
        before = {"decision": error.decision, "decided_by": error.decided_by}
        problem = problem.model_copy(update=before)
    while fields and len(problem.to_json().encode()) > MAX_PROBLEM_BYTES:
        fields.pop()
        problem = problem.model_copy(update={"errors": fields or None})
    return problem


def _bounded(text: str) -> str:
    """A field's name comes from the caller: it may be long, and hold what UTF-8 cannot."""
    return text[:MAX_CHARACTERS].encode(errors="replace").decode()
