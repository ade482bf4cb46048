"""RFC 9457 problem details: the one shape of every error, by REST and in `error` frames."""

from commons.errors import ChatError
from commons.schemas.base import BaseSchema

PROBLEM_TYPE_PREFIX = "urn:problem-type:chat:"
"""Followed by an error's `code`; docs/problems.md explains each."""


class FieldProblem(BaseSchema):
    """What is wrong with one field; `field` is its camelCase path."""

    field: str
    message: str


class Problem(BaseSchema):
    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] | None = None


def problem_of(error: ChatError) -> Problem:
    return Problem(
        type=PROBLEM_TYPE_PREFIX + error.code,
        title=error.title,
        status=error.status,
        detail=error.detail,
        errors=[
            FieldProblem(field=_encodable(each.field), message=_encodable(each.message))
            for each in error.errors
        ]
        or None,
    )


def _encodable(text: str) -> str:
    """A field's name comes from the caller and may hold what UTF-8 cannot."""
    return text[:200].encode(errors="replace").decode()
