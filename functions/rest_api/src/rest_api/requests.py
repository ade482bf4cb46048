"""Reads a request: its JSON body, query, path and headers, each into types."""

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent

from commons.errors import (
    ChannelNotFoundError,
    InvalidRequestError,
    MalformedRequestError,
    MessageNotFoundError,
    UnauthenticatedError,
    UnsupportedMediaTypeError,
)
from commons.json_text import parse_json
from commons.schemas import BaseSchema
from commons.schemas.caller import Caller
from commons.schemas.channel import CHANNEL_ID_PATTERN
from commons.wire import from_wire
from rest_api.schemas import NoQuery

_SAFE_IN_PATH = "/-._~()'!*:@,;=+&$%"
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MEDIA_TYPE = re.compile(r'application/json\s*(;\s*charset="?utf-?8"?\s*)?\Z', re.IGNORECASE)


def encoded_path(path: str) -> str:
    """The path, percent-encoded: it arrives so from AWS, and decoded from other gateways."""
    return quote(_BARE_PERCENT.sub("%25", path), safe=_SAFE_IN_PATH, errors="replace")


def caller_of(event: APIGatewayProxyEvent) -> Caller:
    """Who calls a route that has no query parameters.

    Raises:
        UnauthenticatedError: no authorizer spoke.
        InvalidRequestError: there is a query parameter, which cannot be known.
    """
    caller, _ = caller_and_query_of(event, NoQuery)
    return caller


def caller_and_query_of[Schema: BaseSchema](
    event: APIGatewayProxyEvent, schema: type[Schema]
) -> tuple[Caller, Schema]:
    """Who calls, as the authorizer found, and the query string.

    Raises:
        UnauthenticatedError: no authorizer spoke.
        InvalidRequestError: a parameter is wrong, unknown, or given twice.
    """
    return _caller(event), query_of(event, schema)


def refuse_query(event: APIGatewayProxyEvent) -> None:
    """For a route that has neither a caller nor query parameters.

    Raises:
        InvalidRequestError: there is a query parameter, which cannot be known.
    """
    query_of(event, NoQuery)


def body_of[Schema: BaseSchema](event: APIGatewayProxyEvent, schema: type[Schema]) -> Schema:
    """The JSON body.

    Raises:
        UnsupportedMediaTypeError: it says that it is something else than JSON.
        MalformedRequestError: it is no JSON, or more than `parse_json` reads.
        InvalidRequestError: a field is wrong, or unknown.
        TooLargeError: a field passes its size limit.
    """
    content_type = event.headers.get("content-type")
    if content_type and not _MEDIA_TYPE.match(content_type.strip()):
        raise UnsupportedMediaTypeError("Send the body as application/json.")
    return from_wire(schema, _json(_text(event)))


def optional_body_of[Schema: BaseSchema](
    event: APIGatewayProxyEvent, schema: type[Schema]
) -> Schema:
    """As `body_of`; no body is an empty object."""
    return body_of(event, schema) if event.raw_event.get("body") else schema()


def query_of[Schema: BaseSchema](event: APIGatewayProxyEvent, schema: type[Schema]) -> Schema:
    """The query string.

    Raises:
        InvalidRequestError: a parameter is wrong, unknown, or given twice.
    """
    multiple: Mapping[str, list[str]] = event.raw_event.get("multiValueQueryStringParameters") or {}
    for name, values in multiple.items():
        if len(values) > 1:
            raise InvalidRequestError.of(name, "is given more than once")
    return from_wire(schema, {name: values[0] for name, values in multiple.items()})


def channel_id_of(segment: str) -> str:
    """A channel id from the path; what cannot be one names no channel.

    Raises:
        ChannelNotFoundError: it cannot be one.
    """
    if not re.match(CHANNEL_ID_PATTERN, segment):
        raise ChannelNotFoundError
    return segment


def seq_of(segment: str) -> int:
    """A message's number from the path.

    Raises:
        MessageNotFoundError: no message can have that number.
    """
    if not re.match(r"[1-9][0-9]{0,11}\Z", segment):
        raise MessageNotFoundError
    return int(segment)


def decoded(field: str, segment: str) -> str:
    """A percent-decoded path segment.

    Raises:
        InvalidRequestError: it is no UTF-8.
    """
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequestError.of(field, "is not percent-encoded UTF-8") from None


def header_of(event: APIGatewayProxyEvent, name: str, *, max_length: int) -> str | None:
    """A header's value; None where it is absent.

    Raises:
        InvalidRequestError: it is empty or too long.
    """
    value = event.headers.get(name)
    if value is None:
        return None
    if not 1 <= len(value) <= max_length:
        raise InvalidRequestError.of(name, f"has 1 to {max_length} characters")
    return value


def _caller(event: APIGatewayProxyEvent) -> Caller:
    context = event.raw_event["requestContext"].get("authorizer") or {}
    if "userId" not in context:
        raise UnauthenticatedError("A bearer token is needed.")
    return Caller(
        user_id=context["userId"],
        name=context.get("name"),
        expires_at=int(context["expiresAt"]),
    )


def _text(event: APIGatewayProxyEvent) -> str:
    body: str = event.raw_event.get("body") or ""
    if not event.raw_event.get("isBase64Encoded"):
        return body
    try:
        return base64.b64decode(body, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise MalformedRequestError("The body is not UTF-8.") from None


def _json(text: str) -> object:
    try:
        return parse_json(text)
    except ValueError:
        raise MalformedRequestError("The body is not valid JSON.") from None
