"""Starts a worker of every function before the first user does: a cold one takes seconds."""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final

import httpx
from websockets.sync.client import connect

from devstack.aws import AwsClients
from devstack.config import STAGE
from devstack.errors import DevstackError
from devstack.stacks import StackName, published
from devstack.users import DEMO_USERS, Users

SECONDS: Final = 90.0
AGENTS: Final = 3
"""Workers of the agent: each takes ten questions of the queue, and a cold one takes seconds."""

AT_ONCE: Final = 8
EMPTY_BATCH: Final = json.dumps({"Records": []}).encode()
REFRESH: Final = json.dumps({"action": "refresh"}).encode()
TOOLS: Final = "-workers_tools"
"""The end of the name of the function that keeps the catalogue of tools: warming it fills that."""


class WarmUp:
    """Warms the functions of one stack while the next is deployed, which mostly waits.

    It leaves no data behind: reads, a frame that is refused, batches without a record.
    """

    def __init__(self, clients: AwsClients, users: Callable[[], Users]) -> None:
        self._clients = clients
        self._users = users
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._running: list[Future[None]] = []

    def start(self, stack: StackName) -> None:
        """Begins with the functions of a stack that was deployed."""
        match stack:
            case "data":
                pass
            case "websocket":
                self._begin(self._websocket)
            case "workers":
                self._begin(self._workers)
            case "rest":
                self._begin(self._rest)
                self._begin(self._web_client)

    @property
    def is_at_work(self) -> bool:
        return bool(self._running)

    def finish(self) -> None:
        """Waits until all that was begun is done.

        Raises:
            DevstackError: a function does not answer as it should.
        """
        # A task may begin others, at its end at the latest.
        for running in iter(self._next, None):
            running.result()
        self._pool.shutdown()

    def _next(self) -> Future[None] | None:
        return self._running.pop() if self._running else None

    def _begin(self, task: Callable[[], None]) -> None:
        self._running.append(self._pool.submit(task))

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._users().token(DEMO_USERS[0])}"}

    def _rest(self) -> None:
        url = published(self._clients)["rest/url"].rstrip("/")
        answer = httpx.get(f"{url}/v1/me", headers=self._authorization(), timeout=SECONDS)
        if answer.status_code != httpx.codes.OK:
            raise DevstackError(f"GET /v1/me answers {answer.status_code}: {answer.text}")

    def _web_client(self) -> None:
        url = published(self._clients)["rest/url"].rstrip("/")
        answer = httpx.get(f"{url}/", timeout=SECONDS)
        if answer.status_code != httpx.codes.OK:
            raise DevstackError(f"GET / answers {answer.status_code}: {answer.text}")

    def _websocket(self) -> None:
        with connect(
            published(self._clients)["websocket/url"],
            additional_headers=self._authorization(),
            open_timeout=SECONDS,
        ) as connection:
            for frame in ({"action": "ping"}, {"action": "sendmessage"}):
                connection.send(json.dumps(frame))
                answer = json.loads(connection.recv(timeout=SECONDS))
                if answer.get("type") not in {"pong", "error"}:
                    raise DevstackError(f"{frame['action']} is answered by {answer}")

    def _workers(self) -> None:
        stack = self._clients.cloudformation().describe_stack_resources(
            StackName=f"chat-{STAGE}-workers"
        )
        functions = [
            resource["PhysicalResourceId"]
            for resource in stack["StackResources"]
            if resource["ResourceType"] == "AWS::Lambda::Function"
        ]
        agents = [name for name in functions if name.endswith("-workers_agent")] * (AGENTS - 1)
        for name in [*functions, *agents]:
            self._begin(partial(self._invoke, name))

    def _invoke(self, function: str) -> None:
        payload = REFRESH if function.endswith(TOOLS) else EMPTY_BATCH
        answer = self._clients.functions().invoke(FunctionName=function, Payload=payload)
        if "FunctionError" in answer:
            raise DevstackError(
                f"{function} fails on {payload.decode()}: {answer['Payload'].read().decode()}"
            )
