"""Readers for fields that servers fill in as they like."""

from pydantic import ValidationError, ValidatorFunctionWrapHandler

from commons.records.base import StoredModel


def readable(value: object, read: ValidatorFunctionWrapHandler) -> object:
    """None for what cannot be read: the text in the same chunk is paid for."""
    try:
        return read(value)
    except ValidationError:
        return None


def word(value: object) -> str | None:
    """None also for "" and false, by which some servers say that there is nothing to say."""
    return str(value) if value else None


class Wire(StoredModel):
    """Read as leniently as a stored row: what is not known is ignored."""
