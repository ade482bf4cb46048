"""Starts a worker of every function before the first user does: a cold one takes seconds."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from websockets.sync.client import connect

from devstack.aws import AwsClients
from devstack.config import STAGE
from devstack.errors import DevstackError
from devstack.outputs import Outputs
from devstack.users import DEMO_USERS, Users

SECONDS = 90.0
AGENTS = 3
"""Workers of the agent: each takes ten questions of the queue, and a cold one takes seconds."""

EMPTY_BATCH = json.dumps({"Records": []}).encode()


def run(clients: AwsClients, outputs: Outputs, users: Users) -> None:
    """Leaves no data behind: reads, a frame that is refused, batches without a record.

    Raises:
        DevstackError: a function does not answer as it should.
    """
    token = users.token(DEMO_USERS[0])

    def rest() -> None:
        answer = httpx.get(
            f"{outputs.rest_url}/v1/me",
            headers={"Authorization": f"Bearer {token}"},
            timeout=SECONDS,
        )
        if answer.status_code != httpx.codes.OK:
            raise DevstackError(f"GET /v1/me answers {answer.status_code}: {answer.text}")

    def websocket() -> None:
        frames = [{"action": "ping"}, {"action": "sendmessage"}]
        with connect(
            outputs.websocket_url,
            additional_headers={"Authorization": f"Bearer {token}"},
            open_timeout=SECONDS,
        ) as connection:
            for frame in frames:
                connection.send(json.dumps(frame))
                answer = json.loads(connection.recv(timeout=SECONDS))
                if answer.get("type") not in {"pong", "error"}:
                    raise DevstackError(f"{frame['action']} is answered by {answer}")

    def worker(function: str) -> Callable[[], None]:
        def invoke() -> None:
            answer = clients.functions().invoke(FunctionName=function, Payload=EMPTY_BATCH)
            if "FunctionError" in answer:
                raise DevstackError(
                    f"{function} fails on an empty batch: {answer['Payload'].read().decode()}"
                )

        return invoke

    stack = clients.cloudformation().describe_stack_resources(StackName=f"chat-{STAGE}-workers")
    functions = [
        resource["PhysicalResourceId"]
        for resource in stack["StackResources"]
        if resource["ResourceType"] == "AWS::Lambda::Function"
    ]
    with ThreadPoolExecutor() as pool:
        agents = [name for name in functions if name.endswith("-workers_agent")] * (AGENTS - 1)
        tasks = [rest, websocket, *(worker(name) for name in [*functions, *agents])]
        for future in [pool.submit(task) for task in tasks]:
            future.result()
