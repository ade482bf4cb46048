"""What servers offer is read ahead of time, bounded, and kept where one is down."""

import json
from typing import Any

import pytest
from tests.doubles.mcp_server import Behaviour, Exchange
from tests.unit.workers_tools.conftest import SERVER, MakeStack, Stack

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import Table, Update
from commons.dynamodb.exceptions import RepositoryError
from commons.observability import metrics
from commons.records.tool import OfferedTool, ToolServerRecord
from commons.services.tool_catalogue import ToolCatalogueService
from workers_tools.composition import build_services
from workers_tools.servers import ToolServersError
from workers_tools.services.catalogue import KEPT_SECONDS
from workers_tools.settings import ToolsSettings

type Json = dict[str, Any]


def tool(name: str = "add", **fields: Any) -> Json:
    return {"name": name, "inputSchema": {"type": "object"}, **fields}


def row(stack: Stack) -> ToolServerRecord:
    return ToolServerRecord.model_validate(
        stack.repository.get(Table.CHANNELS, keys.tool_server_key(SERVER))
    )


def offered(stack: Stack) -> list[OfferedTool]:
    return row(stack).tools


def names(stack: Stack) -> list[str]:
    return [each.name for each in offered(stack)]


def test_a_server_has_a_row_with_what_it_offers(stack_of: MakeStack) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    stack = stack_of(
        tools=[tool(title="Add", description="Adds a note.", inputSchema=schema), tool("list")]
    )

    answer = stack.services().catalogue.refresh()

    assert answer.to_wire() == {"servers": 1, "tools": 2, "unread": []}
    assert offered(stack)[0] == OfferedTool(
        name="add",
        title="Add",
        description="Adds a note.",
        input_schema='{"type":"object","properties":{"text":{"type":"string"}}}',
        approval="requester",
    )
    assert names(stack) == ["add", "list"]


@pytest.mark.parametrize(
    ("hints", "configured", "approval"),
    [
        ({}, {}, "requester"),
        ({"readOnlyHint": True}, {}, "none"),
        ({"readOnlyHint": False}, {}, "requester"),
        ({"idempotentHint": True}, {}, "requester"),
        ({"readOnlyHint": True}, {"add": "owner"}, "owner"),
        ({}, {"add": "none"}, "none"),
    ],
)
def test_a_rule_is_the_configurations_or_follows_from_what_the_tool_says_of_itself(
    stack_of: MakeStack, hints: Json, configured: Json, approval: str
) -> None:
    stack = stack_of(tools=[tool(annotations=hints)], described={"approval": configured})

    stack.services().catalogue.refresh()

    (found,) = offered(stack)
    assert found.approval == approval
    assert found.read_only == hints.get("readOnlyHint", False)
    assert found.idempotent == hints.get("idempotentHint", False)


def test_only_tools_that_the_configuration_names_are_offered(stack_of: MakeStack) -> None:
    stack = stack_of(tools=[tool("add"), tool("remove")], described={"tools": ["add"]})

    stack.services().catalogue.refresh()

    assert names(stack) == ["add"]


DEEP: Json = {"type": "object"}
for _level in range(70):
    DEEP = {"type": "object", "properties": {"a": DEEP}}


@pytest.mark.parametrize(
    "bad",
    [
        tool("a b"),
        tool("x" * 65),
        tool("naïve"),
        tool("good"),
        tool("wide", inputSchema={"type": "object", "description": "x" * 8_200}),
        tool("deep", inputSchema=DEEP),
    ],
    ids=["space", "long name", "letters", "twice", "wide", "deep"],
)
def test_a_tool_that_no_model_can_be_shown_is_left_out_and_its_neighbours_are_not(
    stack_of: MakeStack, bad: Json
) -> None:
    stack = stack_of(tools=[tool("good"), bad, tool("last")])

    stack.services().catalogue.refresh()

    assert names(stack) == ["good", "last"]


def test_at_most_64_tools_of_a_server_are_offered(stack_of: MakeStack) -> None:
    stack = stack_of(tools=[tool(f"tool-{each}") for each in range(70)])

    assert stack.services().catalogue.refresh().tools == 64


def test_a_row_stays_far_below_what_dynamodb_holds(stack_of: MakeStack) -> None:
    large = {"type": "object", "description": "x" * 8_000}
    stack = stack_of(tools=[tool(f"tool-{each}", inputSchema=large) for each in range(64)])

    stack.services().catalogue.refresh()

    assert 20 < len(offered(stack)) < 64
    assert len(row(stack).model_dump_json().encode()) < 300_000


def test_a_long_description_is_cut(stack_of: MakeStack) -> None:
    stack = stack_of(tools=[tool(description="ö" * 600, title="x" * 130)])

    stack.services().catalogue.refresh()

    (found,) = offered(stack)
    assert found.description == "ö" * 512
    assert found.title == "x" * 120


def test_every_page_of_a_list_is_read(stack_of: MakeStack) -> None:
    async def pages(exchange: Exchange) -> None:
        cursor = exchange.received.body.get("params", {}).get("cursor")
        number = int(cursor or 0)
        following = {"nextCursor": str(number + 1)} if number < 2 else {}
        await exchange.result({"tools": [tool(f"tool-{number}")], **following})

    stack = stack_of({"tools/list": pages})

    stack.services().catalogue.refresh()

    assert names(stack) == ["tool-0", "tool-1", "tool-2"]


def test_a_list_that_never_ends_is_read_for_a_while(stack_of: MakeStack) -> None:
    async def for_ever(exchange: Exchange) -> None:
        await exchange.result({"tools": [tool(f"tool-{len(asked)}")], "nextCursor": "more"})
        asked.append(1)

    asked: list[int] = []
    stack = stack_of({"tools/list": for_ever})

    stack.services().catalogue.refresh()

    assert len(asked) == len(offered(stack)) == 16


async def is_down(exchange: Exchange) -> None:
    await exchange.answer(503)


async def answers_html(exchange: Exchange) -> None:
    await exchange.answer(200, b"<html>", {"content-type": "text/html"})


async def lists_ten_megabytes(exchange: Exchange) -> None:
    await exchange.result(
        {"tools": [tool(f"t{each}", description="x" * 1_000) for each in range(9_999)]}
    )


async def lists_against_the_protocol(exchange: Exchange) -> None:
    await exchange.result({"tools": [tool(), tool("list", inputSchema={"type": "array"})]})


@pytest.mark.parametrize(
    "behave", [is_down, answers_html, lists_ten_megabytes, lists_against_the_protocol]
)
def test_a_server_that_is_down_keeps_its_row(stack_of: MakeStack, behave: Behaviour) -> None:
    stack = stack_of({"tools/list": behave})
    stack.offer("add")
    stack.repository.update(
        Table.CHANNELS, keys.tool_server_key(SERVER), Update(set={"expires_at": 1})
    )

    answer = stack.services().catalogue.refresh()

    assert answer.unread == [SERVER]
    assert names(stack) == ["add"]
    assert (row(stack).expires_at or 0) >= epoch_seconds() + KEPT_SECONDS - 5
    assert "ToolServerUnread" in metrics.provider.metric_set


def test_a_server_that_was_never_read_gets_no_row(stack_of: MakeStack) -> None:
    stack = stack_of({"tools/list": is_down})

    stack.services().catalogue.refresh()

    assert stack.repository.all_items(Table.CHANNELS) == []


def test_what_is_no_server_any_more_loses_its_row(stack_of: MakeStack) -> None:
    stack = stack_of(tools=[tool()])
    old = ToolServerRecord(name="old", read_at="2026-01-01T00:00:00.000Z")
    stack.repository.put(Table.CHANNELS, {**old.key, **old.model_dump()})

    stack.services().catalogue.refresh()

    (left,) = stack.repository.all_items(Table.CHANNELS)
    assert left["name"] == SERVER


def test_a_stack_without_servers_reads_nothing_and_offers_nothing(stack_of: MakeStack) -> None:
    def never(_name: str) -> str:
        raise AssertionError("nothing is to be read")

    stack = stack_of()
    stack.offer("add")
    services = build_services(
        ToolsSettings(), stack.repository, read_parameter=never, read_secret=never
    )

    answer = services.catalogue.refresh()

    assert answer.to_wire() == {"servers": 0, "tools": 0, "unread": []}
    assert stack.repository.all_items(Table.CHANNELS) == []


def test_a_row_that_nobody_confirms_any_more_counts_for_nothing(stack_of: MakeStack) -> None:
    stack = stack_of(tools=[tool()])
    stack.services().catalogue.refresh()
    assert [each.name for each in ToolCatalogueService(stack.repository).offered()] == ["notes.add"]

    stack.repository.update(
        Table.CHANNELS,
        keys.tool_server_key(SERVER),
        Update(set={"expires_at": epoch_seconds()}),
    )

    assert ToolCatalogueService(stack.repository).offered() == []


@pytest.mark.parametrize("text", ["{", '[{"name": "notes"}]'])
def test_a_wrong_description_takes_nothing_away(stack_of: MakeStack, text: str) -> None:
    stack = stack_of()
    stack.offer("add")
    services = build_services(
        ToolsSettings(tool_servers="/tools"),
        stack.repository,
        read_parameter=lambda _name: text,
        read_secret=lambda _arn: "",
    )

    with pytest.raises(ToolServersError):
        services.catalogue.refresh()

    assert names(stack) == ["add"]


def test_a_changed_description_is_read_at_the_next_refresh(stack_of: MakeStack) -> None:
    texts = ["[]"]
    stack = stack_of(tools=[tool()])
    services = build_services(
        ToolsSettings(tool_servers="/tools", tool_network="private"),
        stack.repository,
        read_parameter=lambda _name: texts[-1],
        read_secret=lambda _arn: "",
    )
    assert services.catalogue.refresh().servers == 0

    texts.append(json.dumps([{"name": SERVER, "url": stack.server.url}]))

    assert services.catalogue.refresh().tools == 1


def test_one_servers_missing_secret_keeps_no_other_from_being_read(stack_of: MakeStack) -> None:
    def refused(_arn: str) -> str:
        raise RepositoryError("Secrets Manager refused the call: AccessDeniedException")

    stack = stack_of(tools=[tool()])
    secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:other-AbCdEf"
    described = [
        {"name": "other", "url": stack.server.url, "secretArn": secret},
        {"name": SERVER, "url": stack.server.url},
    ]
    services = build_services(
        ToolsSettings(tool_servers="/tools", tool_network="private"),
        stack.repository,
        read_parameter=lambda _name: json.dumps(described),
        read_secret=refused,
    )

    answer = services.catalogue.refresh()

    assert (answer.tools, answer.unread) == (1, ["other"])
