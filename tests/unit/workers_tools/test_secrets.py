"""A server's token goes to that server, and nowhere else."""

import json

import pytest
from tests.doubles.canary import canary
from tests.doubles.mcp_server import Exchange, says
from tests.unit.workers_tools.conftest import MakeStack, request

from commons.dal import Table
from commons.dynamodb.exceptions import RepositoryError, StorageUnreachableError
from commons.observability import metrics
from workers_tools.composition import build_services
from workers_tools.configuration import REMEMBERED_SECONDS, Configuration
from workers_tools.servers import ToolServersError
from workers_tools.settings import ToolsSettings

TOKEN = canary("token")
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:notes-AbCdEf"
DESCRIBED = json.dumps([{"name": "notes", "url": "https://a.example.com/mcp", "secretArn": ARN}])


def test_every_request_carries_the_token(stack_of: MakeStack) -> None:
    stack = stack_of(secret=f"{TOKEN}\n")

    stack.call()

    assert {each.headers["authorization"] for each in stack.server.received} == {f"Bearer {TOKEN}"}


def test_a_server_without_a_secret_gets_no_token(stack_of: MakeStack) -> None:
    stack = stack_of()

    stack.call()

    assert not any("authorization" in each.headers for each in stack.server.received)


def test_a_result_that_repeats_the_token_is_told_without_it(stack_of: MakeStack) -> None:
    stack = stack_of({"tools/call": says(f"You sent {TOKEN}.")}, secret=TOKEN)

    assert stack.call().text == "You sent [secret]."


def test_an_error_that_repeats_the_token_is_told_without_it(stack_of: MakeStack) -> None:
    async def refuses(exchange: Exchange) -> None:
        await exchange.error(-32_602, f"{TOKEN} is not enough")

    stack = stack_of({"tools/call": refuses}, secret=TOKEN)

    assert stack.call().text == "[secret] is not enough"


def test_a_description_that_repeats_the_token_is_kept_without_it(stack_of: MakeStack) -> None:
    listed = {
        "name": "add",
        "title": TOKEN,
        "description": f"Called with {TOKEN}.",
        "inputSchema": {"type": "object", "description": TOKEN},
    }
    stack = stack_of(tools=[listed], secret=TOKEN)

    stack.services().catalogue.refresh()

    assert TOKEN not in str(stack.repository.all_items(Table.CHANNELS))


@pytest.mark.parametrize("secret", ["", " ", "two words", "line\nbreak", "ümlaut", "x" * 4_097])
def test_a_secret_that_is_no_token_is_sent_to_nobody(stack_of: MakeStack, secret: str) -> None:
    stack = stack_of(secret=f"{secret}")

    answer = stack.call()

    assert answer.outcome == "error"
    assert answer.text.endswith("The call was not made.")
    assert stack.server.received == []


@pytest.mark.parametrize(
    "error", [RepositoryError("refused"), StorageUnreachableError("not to be reached")]
)
def test_a_secret_that_cannot_be_read_means_no_call(stack_of: MakeStack, error: Exception) -> None:
    def fails(_arn: str) -> str:
        raise error

    stack = stack_of()
    stack.offer()
    services = build_services(
        ToolsSettings(tool_servers="/tools"),
        stack.repository,
        read_parameter=lambda _name: DESCRIBED,
        read_secret=fails,
    )

    answer = services.calling.call(request())

    assert (answer.outcome, answer.reason) == ("error", "unreachable")
    assert answer.text.endswith("The call was not made.")
    assert "Unhandled" in metrics.provider.metric_set


def test_a_secret_and_the_servers_are_read_once_a_minute() -> None:
    read: list[str] = []
    now = [0.0]

    def reading(text: str) -> str:
        read.append(text)
        return DESCRIBED if text == "/tools" else "token"

    configuration = Configuration(
        "/tools", "public", read_parameter=reading, read_secret=reading, clock=lambda: now[0]
    )
    for _look in range(3):
        (server,) = configuration.servers()
        configuration.token(server)
    assert read == ["/tools", ARN]

    now[0] += REMEMBERED_SECONDS + 1
    configuration.token(configuration.servers()[0])

    assert read == ["/tools", ARN, "/tools", ARN]


def test_a_refusal_of_a_secret_names_the_server_and_not_the_secret() -> None:
    configuration = Configuration(
        "/tools",
        "public",
        read_parameter=lambda _name: DESCRIBED,
        read_secret=lambda _arn: f"{TOKEN} {TOKEN}",
    )

    with pytest.raises(ToolServersError) as refused:
        configuration.token(configuration.servers()[0])

    assert TOKEN not in str(refused.value)
    assert "notes" in str(refused.value)
