"""The function as it is invoked, over SSM, Secrets Manager and DynamoDB as moto plays them."""

import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.doubles.canary import CANARY, canary
from tests.doubles.mcp_server import Behaviour, Exchange, ScriptedServer, says, scripted_server

from commons import keys
from commons.dal import DynamoDBRepository, Table
from commons.records.tool import ToolServerRecord
from workers_tools import composition, parameters
from workers_tools.handler import InvocationError, lambda_handler

PARAMETER = "/chat/test/tools/servers"
SERVERS = {
    "Parameters": {"Value": {"Type": "String"}},
    "Resources": {
        "Servers": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {"Name": PARAMETER, "Type": "String", "Value": {"Ref": "Value"}},
        },
    },
}
SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:notes-AbCdEf"
TOOL = {"name": "add", "inputSchema": {"type": "object"}, "description": "Adds a note."}
CALL = {
    "action": "call",
    "server": "notes",
    "tool": "add",
    "arguments": {"text": canary("argument")},
    "callId": "call-1",
    "timeoutSeconds": 20,
    "tomorrows": "field",
}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server({"tools/call": says("added")}, tools=[TOOL]) as running:
        yield running


def describe(value: object) -> None:
    boto3.client("cloudformation").create_stack(
        StackName="servers",
        TemplateBody=json.dumps(SERVERS),
        Parameters=[{"ParameterKey": "Value", "ParameterValue": json.dumps(value)}],
    )


class Secrets:
    """Secrets Manager, which moto's CloudFormation makes no secrets in."""

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:  # noqa: N803 - AWS's name
        assert SecretId == SECRET_ARN
        return {"SecretString": canary("token")}


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What any library logs, as Lambda's runtime would print it."""
    printing = logging.StreamHandler(StringIO())
    monkeypatch.setattr(logging.getLogger(), "handlers", [printing])
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    return printing.stream


@pytest.fixture
def _stack(
    server: ScriptedServer,
    moto_repository: DynamoDBRepository,
    printed: StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    monkeypatch.setenv("TOOL_SERVERS", PARAMETER)
    monkeypatch.setenv("TOOL_NETWORK", "private")
    parameters._client.cache_clear()
    composition.services.cache_clear()
    monkeypatch.setattr("commons.secrets.secretsmanager_client", Secrets)
    yield
    composition.services.cache_clear()
    parameters._client.cache_clear()


def invoke(event: dict[str, Any]) -> dict[str, Any]:
    context = LambdaContext()
    context._function_name = "workers_tools"
    context._memory_limit_in_mb = 1_024
    context._invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:workers_tools"
    context._aws_request_id = "request-1"
    answer: dict[str, Any] = lambda_handler(event, context)
    return answer


@pytest.fixture
def _described(_stack: None, server: ScriptedServer) -> None:
    describe([{"name": "notes", "url": server.url}])


@pytest.mark.usefixtures("_described")
def test_a_refresh_writes_what_the_servers_offer(moto_repository: DynamoDBRepository) -> None:
    assert invoke({"action": "refresh"}) == {"servers": 1, "tools": 1, "unread": []}

    row = moto_repository.get(Table.CHANNELS, keys.tool_server_key("notes"))
    (tool,) = ToolServerRecord.model_validate(row).tools
    assert (tool.name, tool.approval) == ("add", "requester")


@pytest.mark.usefixtures("_described")
def test_a_call_is_made_and_answered(server: ScriptedServer) -> None:
    invoke({"action": "refresh"})

    assert invoke(CALL) == {"outcome": "ok", "text": "added", "truncated": False}
    assert server.sole("tools/call").headers["idempotency-key"] == "call-1"


async def is_html(exchange: Exchange) -> None:
    await exchange.answer(200, f"<html>{CANARY}".encode(), {"content-type": "text/html"})


async def is_no_json(exchange: Exchange) -> None:
    await exchange.answer(200, CANARY.encode(), {"content-type": "application/json"})


async def is_no_event(exchange: Exchange) -> None:
    await exchange.events(f"data: {CANARY}\n\n")


async def is_no_result(exchange: Exchange) -> None:
    await exchange.result({"content": [{"type": CANARY}]})


async def is_an_error(exchange: Exchange) -> None:
    await exchange.error(-32_603, CANARY)


async def is_no_http(exchange: Exchange) -> None:
    await exchange.raw(f"{CANARY}\r\n\r\n".encode())
    exchange.writer.close()


@pytest.mark.usefixtures("_stack")
@pytest.mark.parametrize(
    "behave",
    [says(CANARY), is_html, is_no_json, is_no_event, is_no_result, is_an_error, is_no_http],
)
def test_neither_arguments_nor_results_nor_secrets_are_printed_by_anybody(
    server: ScriptedServer, behave: Behaviour, printed: StringIO
) -> None:
    described = {"name": "notes", "url": f"{server.url}?key={CANARY}"}
    describe([{**described, "secretArn": SECRET_ARN}])
    server.behaviours["tools/call"] = behave
    invoke({"action": "refresh"})

    answer = invoke(CALL)

    assert server.sole("tools/call").headers["authorization"] == f"Bearer {canary('token')}"
    assert answer["outcome"] in {"ok", "error"}
    assert CANARY not in printed.getvalue()


@pytest.mark.usefixtures("_stack")
@pytest.mark.parametrize("value", [[{"name": CANARY, "url": CANARY}], {CANARY: 1}])
def test_a_refresh_that_cannot_be_done_fails_without_a_word_of_what_was_read(
    value: object, printed: StringIO
) -> None:
    describe(value)

    with pytest.raises(InvocationError) as failed:
        invoke({"action": "refresh"})

    assert str(failed.value) == "ToolServersError"
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__
    assert CANARY not in printed.getvalue()


@pytest.mark.usefixtures("_stack")
def test_a_call_without_a_configuration_is_answered() -> None:
    answer = invoke(CALL)

    assert answer["outcome"] == "error"
    assert answer["text"].endswith("The call was not made.")


@pytest.mark.usefixtures("_stack")
@pytest.mark.parametrize(
    "event",
    [
        {},
        {"action": canary("action")},
        {"action": "call", "arguments": canary("argument")},
        {**CALL, "callId": canary("id\r\nx: y")},
        {**CALL, "timeoutSeconds": 0},
        {"Records": []},
    ],
)
def test_an_event_that_nobody_sends_is_refused_without_a_word_of_it(
    event: dict[str, Any], server: ScriptedServer
) -> None:
    with pytest.raises(InvocationError) as refused:
        invoke(event)

    assert CANARY not in str(refused.value)
    assert refused.value.__suppress_context__
    assert server.received == []
