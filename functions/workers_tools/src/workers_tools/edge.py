"""HTTP to one server of somebody else's, for one conversation: where it may go and what is taken.

Everything that leaves the function passes here, and every answer: below the MCP library, so that
nothing the library does (redirects, reconnecting, streams) goes round it.
"""

import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, cast

import anyio
import anyio.to_thread
import httpx2

from workers_tools.addresses import Address, address_of, is_allowed
from workers_tools.schemas import Reason
from workers_tools.servers import ToolNetwork

CONNECT_SECONDS: Final = 5.0
"""To one address; the next is tried then."""

MAX_ADDRESSES: Final = 4
LIST_BYTES: Final = 1_048_576
"""Of all pages of a server's tools, which are read ahead of time and not for a model."""

MAX_REQUESTS: Final = 64
"""A server may ask back, and each of its questions makes us answer by a request."""

CALL: Final = "tools/call"
LIST: Final = "tools/list"

type Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a name, as the system's resolver spells them. Raises OSError."""


class EdgeError(Exception):
    """The conversation ends here.

    Attributes:
        text: why, in a sentence for the model; it holds nothing that the server said.
    """

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.text = text


@dataclass(frozen=True, slots=True)
class Answered:
    """The head of the last answer to a request of the protocol."""

    method: str
    status: int
    content_type: str

    @property
    def is_json(self) -> bool:
        return self.content_type == "application/json"

    @property
    def is_readable(self) -> bool:
        return self.is_json or self.content_type == "text/event-stream"


async def resolve(host: str, port: int) -> Sequence[str]:
    """By the system's resolver, in a thread that nobody waits for once time is up."""
    found = await anyio.to_thread.run_sync(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), abandon_on_cancel=True
    )
    return [str(address[0]) for *_, address in found]


@cache
def system_trust() -> ssl.SSLContext:
    """Loading the system's certificates takes a tenth of a second: once a process."""
    return ssl.create_default_context()


class GuardedTransport(httpx2.AsyncBaseTransport):
    """One conversation's only way out.

    A name is resolved for each request; every address it has must be allowed; the connection is
    made to one of these addresses, so no second resolution can lead elsewhere. `Host`, the server
    name of TLS and the name in its certificate stay those of the URL.

    The first thing that goes wrong is kept (`fault`) and ends the conversation, whatever the
    library above makes of it.

    Args:
        network: which addresses are allowed; over http only `private`.
        read_bytes: of one answer.
        call_id: goes with the one call that the conversation may make; None: it may make none.
        resolver: finds a name's addresses.
        trust: whose certificates are believed.
    """

    def __init__(
        self,
        *,
        network: ToolNetwork,
        read_bytes: int,
        call_id: str | None = None,
        resolver: Resolve = resolve,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._network = network
        self._read_bytes = read_bytes
        self._of_lists = _Budget(LIST_BYTES)
        self._of_the_call = _Budget(read_bytes)
        self._requests = 0
        self._call_id = call_id
        self._resolve = resolver
        self._inner = httpx2.AsyncHTTPTransport(verify=trust or system_trust(), trust_env=False)
        self.fault: EdgeError | None = None
        self.on_fault: Callable[[], None] = lambda: None
        self.answered: Answered | None = None
        self.session_id: str | None = None
        self.has_called = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.fault is not None and request.method != "DELETE":
            raise self.fault
        if request.method == "GET" and "last-event-id" not in request.headers:
            # What a server would say unasked nobody listens to. (With an id, it is the answer to a
            # request whose stream the server closed for a while.)
            return httpx2.Response(httpx2.codes.METHOD_NOT_ALLOWED, request=request)
        self._requests += 1
        if self._requests > MAX_REQUESTS:
            raise self.fail("bad_answer", f"The tool's server asks for ever. {self.fate()}")
        method = _method_of(request)
        if method == CALL:
            self._take_the_call(request)
        request.headers["accept-encoding"] = "identity"
        response = await self._send(request, method)
        try:
            self._examine(response, request, method)
        except EdgeError:
            await response.aclose()
            raise
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()

    def fail(self, reason: Reason, text: str) -> EdgeError:
        """Ends the conversation; the first reason stays."""
        if self.fault is None:
            self.fault = EdgeError(reason, text)
            self.on_fault()
        return self.fault

    def too_large(self) -> EdgeError:
        return self.fail(
            "too_large",
            f"The tool's answer is larger than {self._read_bytes // 1_024} KB and was not read. "
            f"{self.fate()}",
        )

    def broke(self) -> EdgeError:
        return self.fail(
            "unreachable", f"The connection broke before the answer was there. {self.fate()}"
        )

    def garbled(self) -> EdgeError:
        return self.fail(
            "bad_answer", f"The tool's server does not answer in sound HTTP. {self.fate()}"
        )

    def fate(self) -> str:
        """What is known of the call where there is no result."""
        if self.has_called:
            return "Whether the call had an effect is not known."
        return "The call was not made."

    def _take_the_call(self, request: httpx2.Request) -> None:
        if self._call_id is None or self.has_called:
            raise self.fail("bad_answer", f"The call is not made a second time. {self.fate()}")
        self.has_called = True
        request.headers["Idempotency-Key"] = self._call_id

    async def _send(self, request: httpx2.Request, method: str | None) -> httpx2.Response:
        addresses = await self._addresses(request.url)
        for address in addresses[:MAX_ADDRESSES]:
            try:
                return await self._inner.handle_async_request(_sent_to(address, request))
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                # Nothing was sent: the next address is no second attempt.
                continue
            except httpx2.ProtocolError:
                raise self.garbled() from None
            except httpx2.TransportError:
                raise self.broke() from None
        if method == CALL:
            self.has_called = False
        raise self.fail("unreachable", f"The tool's server cannot be reached. {self.fate()}")

    async def _addresses(self, url: httpx2.URL) -> list[Address]:
        if url.scheme != "https" and self._network == "public":
            raise self.fail("refused_address", "The tool's server is not asked without https.")
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = await self._resolve(url.raw_host.decode("ascii"), port)
            addresses = list(dict.fromkeys(map(address_of, found)))
        except (OSError, ValueError):
            addresses = []
        if not all(is_allowed(address, self._network) for address in addresses):
            raise self.fail(
                "refused_address",
                "The tool's server has an address that requests are not sent to. "
                "The call was not made.",
            )
        return addresses

    def _examine(
        self, response: httpx2.Response, request: httpx2.Request, method: str | None
    ) -> None:
        if method is not None:
            content_type = response.headers.get("content-type", "").partition(";")[0]
            self.answered = Answered(method, response.status_code, content_type.strip().lower())
        if "mcp-session-id" in response.headers:
            self.session_id = response.headers["mcp-session-id"]
        if httpx2.codes.is_redirect(response.status_code):
            raise self.fail(
                "bad_answer", f"The tool's server redirects, which is not followed. {self.fate()}"
            )
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise self.fail(
                "bad_answer",
                f"The tool's server answers compressed, which it was not asked to. {self.fate()}",
            )
        budget = self._budget(request, method)
        if _announced(response) > budget.left:
            raise self.too_large()
        response.stream = _CountedStream(
            cast("httpx2.AsyncByteStream", response.stream), self, budget
        )

    def _budget(self, request: httpx2.Request, method: str | None) -> "_Budget":
        """A stream that is taken up again goes on with what it has left."""
        if method == LIST:
            return self._of_lists
        if method == CALL or request.method == "GET":
            return self._of_the_call
        return _Budget(self._read_bytes)


@dataclass(slots=True)
class _Budget:
    """Bytes that may still come."""

    left: int


class _CountedStream(httpx2.AsyncByteStream):
    """An answer's bytes, counted as they come: what a header says of them is not believed."""

    def __init__(
        self, inner: httpx2.AsyncByteStream, edge: GuardedTransport, budget: _Budget
    ) -> None:
        self._inner = inner
        self._edge = edge
        self._budget = budget

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                self._budget.left -= len(chunk)
                if self._budget.left < 0:
                    raise self._edge.too_large()
                yield chunk
        except httpx2.ProtocolError:
            raise self._edge.garbled() from None
        except httpx2.TransportError:
            raise self._edge.broke() from None

    async def aclose(self) -> None:
        await self._inner.aclose()


def _sent_to(address: Address, request: httpx2.Request) -> httpx2.Request:
    """The same request, to an address instead of a name."""
    name = request.url.raw_host.decode("ascii")
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": name},
    )


def _method_of(request: httpx2.Request) -> str | None:
    """Of a request of the protocol; None for what expects no answer."""
    if request.method != "POST":
        return None
    message = json.loads(request.content)
    is_request = isinstance(message, dict) and "id" in message and "method" in message
    return str(message["method"]) if is_request else None


def _announced(response: httpx2.Response) -> int:
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() and length.isascii() else 0
