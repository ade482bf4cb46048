"""The REST API: `ChatClient`, and `AsyncChatClient` for programs with an event loop."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self, overload

import httpx

from chat_client import operations
from chat_client.exchange import Answer, Pause, Retries, exchange
from chat_client.operations import Operation
from chat_client.tokens import AsyncTokens, SyncToken, SyncTokens, Token

TIMEOUT = httpx.Timeout(35.0, connect=10.0)
"""API Gateway answers within 30 s, with a refusal if need be."""


class _Method[**P, T]:
    """An operation as a method of `ChatClient`."""

    def __init__(self, build: Callable[P, Operation[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type["ChatClient"]) -> Self: ...
    @overload
    def __get__(self, client: "ChatClient", owner: type["ChatClient"]) -> Callable[P, T]: ...
    def __get__(
        self, client: "ChatClient | None", owner: type["ChatClient"]
    ) -> Self | Callable[P, T]:
        if client is None:
            return self

        @functools.wraps(self._build)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return client.run(self._build(*args, **kwargs))

        return call


class _AsyncMethod[**P, T]:
    """An operation as a method of `AsyncChatClient`."""

    def __init__(self, build: Callable[P, Operation[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type["AsyncChatClient"]) -> Self: ...
    @overload
    def __get__(
        self, client: "AsyncChatClient", owner: type["AsyncChatClient"]
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(
        self, client: "AsyncChatClient | None", owner: type["AsyncChatClient"]
    ) -> Self | Callable[P, Coroutine[Any, Any, T]]:
        if client is None:
            return self

        @functools.wraps(self._build)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return await client.run(self._build(*args, **kwargs))

        return call


class ChatClient:
    """Every operation of the REST API, blocking; a context manager.

    A call that is throttled, or gets no answer, is tried again; what it writes, it writes once.
    Methods raise ChatError, with the API's problem, or its subclass UnreachableError.

    Args:
        rest_url: as the deployment names it, without `/v1`.
        token: a JWT, or what returns a fresh one: it is asked before the last one expires and when
            one was refused.
        retries: when a call is tried again.
        transport: how requests travel; httpx's own by default.
    """

    def __init__(
        self,
        rest_url: str,
        token: SyncToken,
        *,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._base = rest_url.rstrip("/")
        self._tokens = SyncTokens(token)
        self._retries = retries or Retries()
        self._http = httpx.Client(timeout=TIMEOUT, transport=transport)
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def run[T](self, operation: Operation[T], *, retries: Retries | None = None) -> T:
        """Calls an operation of `chat_client.operations`, or one of your own."""
        steps = exchange(operation, retries or self._retries, renewable=self._tokens.renewable)
        answer: Answer | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            if isinstance(step, Pause):
                self._sleep(step.seconds)
                answer = None
            else:
                token = None if operation.public else self._tokens.get(fresh=step.fresh_token)
                answer = self._send(operation, token)

    def _send[T](self, operation: Operation[T], token: str | None) -> Answer:
        try:
            return self._http.send(_request(self._http, self._base, operation, token))
        except httpx.TransportError as error:
            return error

    create_channel = _Method(operations.create_channel)
    list_channels = _Method(operations.list_channels)
    get_channel = _Method(operations.get_channel)
    update_channel = _Method(operations.update_channel)
    delete_channel = _Method(operations.delete_channel)
    list_members = _Method(operations.list_members)
    put_member = _Method(operations.put_member)
    remove_member = _Method(operations.remove_member)
    post_message = _Method(operations.post_message)
    list_messages = _Method(operations.list_messages)
    get_message = _Method(operations.get_message)
    edit_message = _Method(operations.edit_message)
    delete_message = _Method(operations.delete_message)
    add_reaction = _Method(operations.add_reaction)
    remove_reaction = _Method(operations.remove_reaction)
    regenerate_reply = _Method(operations.regenerate_reply)
    list_generations = _Method(operations.list_generations)
    cancel_generations = _Method(operations.cancel_generations)
    list_tools = _Method(operations.list_tools)
    decide_call = _Method(operations.decide_call)
    get_usage = _Method(operations.get_usage)
    list_events = _Method(operations.list_events)
    set_read_mark = _Method(operations.set_read_mark)
    get_presence = _Method(operations.get_presence)
    issue_ticket = _Method(operations.issue_ticket)
    get_me = _Method(operations.get_me)
    get_health = _Method(operations.get_health)
    get_open_api = _Method(operations.get_open_api)
    get_swagger = _Method(operations.get_swagger)
    get_web_client = _Method(operations.get_web_client)


class AsyncChatClient:
    """`ChatClient` for asyncio: the same methods, to be awaited; an async context manager.

    Args:
        token: as ChatClient's, or an async callable.
    """

    def __init__(
        self,
        rest_url: str,
        token: Token,
        *,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._base = rest_url.rstrip("/")
        self.tokens = AsyncTokens(token)
        self._retries = retries or Retries()
        self._http = httpx.AsyncClient(timeout=TIMEOUT, transport=transport)
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def run[T](self, operation: Operation[T], *, retries: Retries | None = None) -> T:
        """Calls an operation of `chat_client.operations`, or one of your own."""
        steps = exchange(operation, retries or self._retries, renewable=self.tokens.renewable)
        answer: Answer | None = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            if isinstance(step, Pause):
                await self._sleep(step.seconds)
                answer = None
            else:
                token = None if operation.public else await self.tokens.get(fresh=step.fresh_token)
                answer = await self._send(operation, token)

    async def _send[T](self, operation: Operation[T], token: str | None) -> Answer:
        try:
            return await self._http.send(_request(self._http, self._base, operation, token))
        except httpx.TransportError as error:
            return error

    create_channel = _AsyncMethod(operations.create_channel)
    list_channels = _AsyncMethod(operations.list_channels)
    get_channel = _AsyncMethod(operations.get_channel)
    update_channel = _AsyncMethod(operations.update_channel)
    delete_channel = _AsyncMethod(operations.delete_channel)
    list_members = _AsyncMethod(operations.list_members)
    put_member = _AsyncMethod(operations.put_member)
    remove_member = _AsyncMethod(operations.remove_member)
    post_message = _AsyncMethod(operations.post_message)
    list_messages = _AsyncMethod(operations.list_messages)
    get_message = _AsyncMethod(operations.get_message)
    edit_message = _AsyncMethod(operations.edit_message)
    delete_message = _AsyncMethod(operations.delete_message)
    add_reaction = _AsyncMethod(operations.add_reaction)
    remove_reaction = _AsyncMethod(operations.remove_reaction)
    regenerate_reply = _AsyncMethod(operations.regenerate_reply)
    list_generations = _AsyncMethod(operations.list_generations)
    cancel_generations = _AsyncMethod(operations.cancel_generations)
    list_tools = _AsyncMethod(operations.list_tools)
    decide_call = _AsyncMethod(operations.decide_call)
    get_usage = _AsyncMethod(operations.get_usage)
    list_events = _AsyncMethod(operations.list_events)
    set_read_mark = _AsyncMethod(operations.set_read_mark)
    get_presence = _AsyncMethod(operations.get_presence)
    issue_ticket = _AsyncMethod(operations.issue_ticket)
    get_me = _AsyncMethod(operations.get_me)
    get_health = _AsyncMethod(operations.get_health)
    get_open_api = _AsyncMethod(operations.get_open_api)
    get_swagger = _AsyncMethod(operations.get_swagger)
    get_web_client = _AsyncMethod(operations.get_web_client)


def _request[T](
    http: httpx.Client | httpx.AsyncClient, base: str, operation: Operation[T], token: str | None
) -> httpx.Request:
    authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
    return http.build_request(
        operation.method,
        f"{base}{operation.path}",
        params=dict(operation.params) or None,
        json=operation.body,
        headers={**authorization, **operation.headers},
    )
