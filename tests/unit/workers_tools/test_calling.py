"""A call as its server sees it, and its result as the model does."""

import asyncio
import json
from typing import Any

import pytest
from tests.doubles.mcp_server import SESSION, Behaviour, Exchange, says
from tests.unit.workers_tools.conftest import MakeStack, request

from commons.observability import metrics


def returns(**result: Any) -> Behaviour:
    async def behave(exchange: Exchange) -> None:
        await exchange.result({"content": [], **result})

    return behave


def test_the_tool_gets_its_arguments_and_the_calls_id_twice_over(stack_of: MakeStack) -> None:
    stack = stack_of()

    stack.call("add", text="milk")

    call = stack.server.sole("tools/call")
    assert call.body["params"]["name"] == "add"
    assert call.body["params"]["arguments"] == {"text": "milk"}
    assert call.body["params"]["_meta"]["callId"] == "call-1"
    assert call.body["params"]["_meta"]["idempotencyKey"] == "call-1"
    assert call.headers["idempotency-key"] == "call-1"


def test_the_key_goes_with_the_call_alone(stack_of: MakeStack) -> None:
    stack = stack_of()

    stack.call()

    others = [each for each in stack.server.received if each.method != "tools/call"]
    assert others
    assert not any("idempotency-key" in each.headers for each in others)


def test_the_session_is_ended_afterwards(stack_of: MakeStack) -> None:
    stack = stack_of()

    stack.call()

    assert stack.server.methods[-1] == "DELETE"
    assert stack.server.received[-1].headers["mcp-session-id"] == SESSION


def test_a_session_is_ended_after_a_bad_answer_too(stack_of: MakeStack) -> None:
    async def html(exchange: Exchange) -> None:
        await exchange.answer(200, b"<html>", {"content-type": "text/html"})

    stack = stack_of({"tools/call": html})

    stack.call()

    assert stack.server.methods[-1] == "DELETE"


def test_nobody_listens_to_what_a_server_would_say_unasked(stack_of: MakeStack) -> None:
    stack = stack_of()

    stack.call()

    assert "GET" not in stack.server.methods


def test_nothing_compressed_is_asked_for(stack_of: MakeStack) -> None:
    stack = stack_of()

    stack.call()

    assert {each.headers["accept-encoding"] for each in stack.server.received} == {"identity"}


def test_an_answer_may_be_an_event(stack_of: MakeStack) -> None:
    async def event(exchange: Exchange) -> None:
        await exchange.events(exchange.text_result("from an event"))

    assert stack_of({"tools/call": event}).call().text == "from an event"


def test_a_stream_that_its_server_closes_for_a_while_is_taken_up_again(
    stack_of: MakeStack,
) -> None:
    """The answer is read on; the call is not made again."""
    calls: list[Exchange] = []

    async def goes_away(exchange: Exchange) -> None:
        calls.append(exchange)
        await exchange.events("retry: 1\nid: 7\ndata:\n\n")

    async def goes_on(exchange: Exchange) -> None:
        assert exchange.received.headers["last-event-id"] == "7"
        await exchange.events(calls[0].text_result("late"))

    stack = stack_of({"tools/call": goes_away, "GET": goes_on})

    assert stack.call().text == "late"
    assert stack.server.methods.count("tools/call") == 1


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (
            {"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            "one\ntwo",
        ),
        ({}, "The tool answered with nothing."),
        ({"structuredContent": {"at": "noon"}}, '{"at": "noon"}'),
        (
            {
                "content": [{"type": "text", "text": '{"at":"noon"}'}],
                "structuredContent": {"at": "noon"},
            },
            '{"at": "noon"}',
        ),
        (
            {
                "content": [{"type": "text", "text": "noon"}],
                "structuredContent": {"result": "noon"},
            },
            '{"result": "noon"}',
        ),
        (
            {"content": [{"type": "text", "text": "at noon"}], "structuredContent": {"at": "noön"}},
            'at noon\n{"at": "noön"}',
        ),
        (
            {"content": [{"type": "image", "data": "AAAA", "mimeType": "image/png"}]},
            "[An image (image/png), which is not shown.]",
        ),
        (
            {"content": [{"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}]},
            "[A sound (audio/wav), which is not shown.]",
        ),
        (
            {"content": [{"type": "resource", "resource": {"uri": "file:///a", "text": "secret"}}]},
            "[The resource file:///a, which is not shown.]",
        ),
        (
            {"content": [{"type": "resource_link", "uri": "http://169.254.169.254/", "name": "a"}]},
            "[A link to the resource http://169.254.169.254/, which is not opened.]",
        ),
    ],
)
def test_a_result_is_shown_as_text(stack_of: MakeStack, result: dict[str, Any], text: str) -> None:
    stack = stack_of({"tools/call": returns(**result)})

    answer = stack.call()

    assert (answer.outcome, answer.text, answer.truncated) == ("ok", text, False)
    assert stack.server.methods.count("tools/call") == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x" * 16_384, 16_384),
        ("x" * 16_385, 16_384),
        ("ö" * 8_193, 16_384),
        ("x" + "ö" * 9_000, 16_383),
    ],
)
def test_a_long_result_is_cut_between_characters(
    stack_of: MakeStack, text: str, shown: int
) -> None:
    answer = stack_of({"tools/call": says(text)}).call()

    assert len(answer.text.encode()) == shown
    assert text.startswith(answer.text)
    assert answer.truncated == (answer.text != text)


@pytest.mark.parametrize(("size", "outcome"), [(65_536, "ok"), (65_537, "error")])
def test_64_kilobytes_of_an_answer_are_read(stack_of: MakeStack, size: int, outcome: str) -> None:
    async def exactly(exchange: Exchange) -> None:
        result = {"content": [{"type": "text", "text": "{}"}]}
        message = {"jsonrpc": "2.0", "id": exchange.received.body["id"], "result": result}
        body = json.dumps(message)
        padded = body.replace("{}", "x" * (size - len(body) + 2))
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        await exchange.raw(padded.encode())
        exchange.writer.close()

    assert stack_of({"tools/call": exactly}).call().outcome == outcome


def test_a_tool_that_says_it_failed_is_an_error_in_its_own_words(stack_of: MakeStack) -> None:
    failed = returns(content=[{"type": "text", "text": "No such note."}], isError=True)

    answer = stack_of({"tools/call": failed}).call()

    assert (answer.outcome, answer.reason, answer.text) == ("error", "tool_error", "No such note.")


@pytest.mark.parametrize("status", [200, 400])
def test_an_error_of_the_protocol_is_the_tools(stack_of: MakeStack, status: int) -> None:
    async def refuses(exchange: Exchange) -> None:
        await exchange.error(-32_602, "text is missing", status=status)

    answer = stack_of({"tools/call": refuses}).call()

    assert (answer.outcome, answer.reason, answer.text) == (
        "error",
        "tool_error",
        "text is missing",
    )


def test_a_server_that_refuses_the_conversation_is_not_called(stack_of: MakeStack) -> None:
    async def refuses(exchange: Exchange) -> None:
        await exchange.error(-32_000, "not today")

    stack = stack_of({"initialize": refuses})

    answer = stack.call()

    assert answer.reason == "bad_answer"
    assert answer.text.endswith("The call was not made.")


class TestWhatIsNotOffered:
    def test_an_unknown_server_is_not_called(self, stack_of: MakeStack) -> None:
        stack = stack_of()
        stack.offer()

        answer = stack.services().calling.call(request().model_copy(update={"server": "elsewhere"}))

        assert answer.outcome == "error"
        assert answer.text.endswith("The call was not made.")
        assert stack.server.received == []

    @pytest.mark.parametrize("tool", ["remove", "add.", ""])
    def test_a_tool_that_the_catalogue_does_not_hold_is_not_called(
        self, stack_of: MakeStack, tool: str
    ) -> None:
        stack = stack_of()
        stack.offer("add")

        answer = stack.services().calling.call(request(tool))

        assert answer.outcome == "error"
        assert stack.server.received == []

    def test_a_tool_that_the_configuration_has_left_out_since_is_not_called(
        self, stack_of: MakeStack
    ) -> None:
        stack = stack_of(described={"tools": ["list"]})

        assert stack.call("add").outcome == "error"
        assert stack.server.received == []

    def test_a_tool_is_not_called_before_its_server_was_read(self, stack_of: MakeStack) -> None:
        stack = stack_of()

        assert stack.services().calling.call(request()).outcome == "error"
        assert stack.server.received == []


def test_the_callers_patience_counts_where_it_is_shorter(stack_of: MakeStack) -> None:
    async def hangs(_exchange: Exchange) -> None:
        await asyncio.sleep(3_600)

    stack = stack_of({"tools/call": hangs}, seconds=30.0)
    stack.offer()

    answer = stack.services().calling.call(request().model_copy(update={"timeout_seconds": 0.5}))

    assert answer.reason == "timeout"
    assert answer.text.startswith("The tool did not answer within 0.5 s.")


@pytest.mark.parametrize(
    ("behave", "counted"),
    [
        (says("done"), {"ToolCalled"}),
        (returns(isError=True), {"ToolCalled"}),
        (says("x" * 100_000), {"ToolCalled", "ToolFailed"}),
    ],
)
def test_calls_are_counted_and_failures_of_servers_apart(
    stack_of: MakeStack, behave: Behaviour, counted: set[str]
) -> None:
    stack_of({"tools/call": behave}).call()

    assert set(metrics.provider.metric_set) == counted
