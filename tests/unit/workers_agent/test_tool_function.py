"""What the worker asks the function that calls tools, and what each way to fail means."""

import asyncio
import io
import json
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from tests.doubles.canary import canary

from commons.records.tool import ToolCallRecord
from workers_agent.schemas import ToolAnswer
from workers_agent.tool_function import CallUnknownError, LambdaToolFunction, NoTools

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

ARGUMENTS = {"text": "milk", "when": None, "many": 9007199254740991, "part": 0.1, "in": {"a": None}}
URL = "https://lambda"


def record(**changes: object) -> ToolCallRecord:
    values = {
        "channel_id": "channel-1",
        "call_id": "call-1",
        "question_seq": 1,
        "generation": 1,
        "step": 0,
        "position": 0,
        "tool": "notes.lists.add",
        "arguments": json.dumps(ARGUMENTS),
        "approval": "requester",
        "requested_by": "alice",
        "status": "running",
    }
    return ToolCallRecord.model_validate(values | changes)


class Client:
    """Answers, or fails, the same each time."""

    def __init__(
        self, answer: object = None, *, error: Exception | None = None, failed: bool = False
    ) -> None:
        self._answer = answer
        self._error = error
        self._failed = failed
        self.invocations: list[dict[str, object]] = []

    def invoke(self, **invocation: object) -> dict[str, object]:
        self.invocations.append(invocation)
        if self._error is not None:
            raise self._error
        body = (
            self._answer if isinstance(self._answer, bytes) else json.dumps(self._answer).encode()
        )
        response: dict[str, object] = {"StatusCode": 200, "Payload": io.BytesIO(body)}
        return response | ({"FunctionError": "Unhandled"} if self._failed else {})


def call(client: Client, asked: ToolCallRecord | None = None) -> ToolAnswer:
    function = LambdaToolFunction("chat-dev-tools", seconds=20, client=cast("LambdaClient", client))
    return asyncio.run(function.call(asked or record()))


def refusal(code: str, status: int) -> ClientError:
    metadata = {"HTTPStatusCode": status}
    return ClientError(
        {"Error": {"Code": code, "Message": "x"}, "ResponseMetadata": metadata},  # type: ignore[typeddict-item]  # the rest is not read
        "Invoke",
    )


def test_a_call_is_asked_for_with_what_was_approved() -> None:
    client = Client({"outcome": "ok", "text": "done"})

    answer = call(client)

    assert answer == ToolAnswer(outcome="ok", text="done")
    (invocation,) = client.invocations
    assert (invocation["FunctionName"], invocation["InvocationType"]) == (
        "chat-dev-tools",
        "RequestResponse",
    )
    payload = invocation["Payload"]
    assert isinstance(payload, bytes)
    assert json.loads(payload) == {
        "action": "call",
        "server": "notes",
        "tool": "lists.add",
        "arguments": ARGUMENTS,
        "callId": "call-1",
        "timeoutSeconds": 20.0,
    }


def test_what_a_newer_function_says_besides_is_ignored() -> None:
    answer = call(Client({"outcome": "error", "text": "no", "reason": "new", "colour": "red"}))

    assert (answer.outcome, answer.text, answer.reason) == ("error", "no", "new")


@pytest.mark.parametrize(
    "error",
    [
        refusal("TooManyRequestsException", 429),
        refusal("AccessDeniedException", 403),
        refusal("ResourceNotFoundException", 404),
        EndpointConnectionError(endpoint_url=URL),
        ConnectTimeoutError(endpoint_url=URL),
    ],
)
def test_a_call_that_never_reached_the_function_is_an_error(error: Exception) -> None:
    client = Client(error=error)

    assert call(client).outcome == "error"
    assert len(client.invocations) == 1


@pytest.mark.parametrize(
    "client",
    [
        Client(error=refusal("ServiceException", 500)),
        Client(error=ReadTimeoutError(endpoint_url=URL)),
        Client(error=ConnectionClosedError(endpoint_url=URL)),
        Client({"errorMessage": "Task timed out"}, failed=True),
        Client(b"<html>"),
        Client({"outcome": "perhaps"}),
    ],
)
def test_nobody_knows_of_a_call_whose_answer_is_lost(client: Client) -> None:
    with pytest.raises(CallUnknownError):
        call(client)

    assert len(client.invocations) == 1


def test_neither_arguments_nor_results_are_logged() -> None:
    asked = record(arguments=json.dumps({"text": canary("argument")}))

    for answer in (
        {"outcome": "ok", "text": canary("result")},
        {"outcome": canary("result")},
        canary("result").encode(),
    ):
        with suppress(CallUnknownError):
            call(Client(answer), asked)


def test_a_stack_without_tools_makes_no_call() -> None:
    assert asyncio.run(NoTools().call(record())).outcome == "error"
