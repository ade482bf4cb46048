"""Which MCP servers the stack offers tools of: the JSON that an SSM parameter, or a file, holds."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from commons.schemas.base import BaseSchema

type ToolNetwork = Literal["public", "private"]
"""`public`: servers that anybody on the internet reaches, over https. `private`: loopback and private
addresses too, and http."""

type Rule = Literal["none", "anyone", "requester", "owner"]

MAX_SERVERS: Final = 16
MAX_SHOWN_ERRORS: Final = 3

_ARN: Final = r"^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:\d{12}:secret:[A-Za-z0-9/_+=.@-]+$"

ServerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
"""Without a dot: `server.tool` is taken apart at the first."""

ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class ToolServersError(ValueError):
    """The servers are not described as they have to be.

    Its text names fields and never repeats a value: an address may hold what nobody should read.
    """


def _an_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is no whole URL, such as https://tools.example.com/mcp")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user or a password: a key belongs into the secret of secretArn")
    if parts.fragment or not url.isascii() or any(char <= " " for char in url):
        raise ValueError("holds what no request can be sent to")
    return url


class ToolServer(BaseSchema):
    """One server.

    Attributes:
        name: what its tools' names begin with.
        url: where it speaks Streamable HTTP.
        secret_arn: of the secret that holds its bearer token; None: it asks for none.
        tools: those that are offered; None: all.
        approval: rules of the stack, by the tool's name.
    """

    name: ServerName
    url: Annotated[str, Field(max_length=2_048), AfterValidator(_an_address)]
    secret_arn: Annotated[str, StringConstraints(pattern=_ARN)] | None = None
    tools: list[ToolName] | None = None
    approval: dict[ToolName, Rule] = Field(default_factory=dict)

    def offers(self, tool: str) -> bool:
        return self.tools is None or tool in self.tools


_SERVERS: Final = TypeAdapter(list[ToolServer])


def read_servers(text: str, network: ToolNetwork) -> list[ToolServer]:
    """The servers that a JSON text describes.

    Raises:
        ToolServersError: in one sentence, what is wrong with it.
    """
    try:
        servers = _SERVERS.validate_json(text, strict=True)
    except ValidationError as error:
        raise ToolServersError(_sentence(error)) from None
    if len(servers) > MAX_SERVERS:
        raise ToolServersError(f"There are more than {MAX_SERVERS} servers.")
    _require_different([server.name for server in servers])
    for server in servers:
        if network == "public" and not server.url.lower().startswith("https://"):
            raise ToolServersError(
                f"url of the server {server.name}: has to be https, unless the stack's "
                "ToolNetwork is private."
            )
        for tool in server.approval:
            if not server.offers(tool):
                raise ToolServersError(
                    f"approval of the server {server.name}: {tool} is not among its tools."
                )
    return servers


def _require_different(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ToolServersError(f"Two servers have the name {name}.")


def _sentence(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    told = "; ".join(map(_told, found[:MAX_SHOWN_ERRORS]))
    more = len(found) - MAX_SHOWN_ERRORS
    return f"{told}{f'; and {more} more' if more > 0 else ''}."


def _told(error: ErrorDetails) -> str:
    if error["type"] == "json_invalid":
        return "The text is no JSON"
    path = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
