"""What comes from outside, as types: the one reader of both edges."""

from pydantic import ValidationError

from commons.errors import FieldError, InvalidRequestError
from commons.schemas.base import BaseSchema
from commons.schemas.problem import MAX_FIELD_PROBLEMS


def from_wire[Schema: BaseSchema](schema: type[Schema], value: object) -> Schema:
    """The value as that schema, spelled as on the wire: camelCase only.

    Raises:
        InvalidRequestError: a field is wrong, or unknown: the first 20, each by its camelCase path.
        TooLargeError: a field passes its size limit.
    """
    try:
        return schema.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
    fields = [
        FieldError(
            ".".join(str(part) for part in each["loc"]) or "body",
            each["msg"].removeprefix("Value error, "),
        )
        for each in found[:MAX_FIELD_PROBLEMS]
    ]
    raise InvalidRequestError("At least one field is wrong.", errors=fields)
