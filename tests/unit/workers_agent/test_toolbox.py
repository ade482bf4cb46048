"""How tools are named to a model, and what it means by a name."""

import re

import pytest

from commons.records.tool import BadArgumentsError, ChannelTool
from workers_agent.services.toolbox import MAX_DEPTH, MAX_NAME, Toolbox


def tool(name: str, *, description: str = "Does it.", title: str | None = None) -> ChannelTool:
    return ChannelTool(
        name=name,
        title=title,
        description=description,
        input_schema={"type": "object"},
        approval="none",
        read_only=True,
        idempotent=False,
    )


NAMES = ["notes.add", "a.b_c", "a_b.c", "a-b.c", "s.x.y", f"long.{'n' * 64}", f"long.{'n' * 63}m"]


def test_every_name_is_one_that_providers_take_and_no_two_are_equal() -> None:
    toolbox = Toolbox([tool(name) for name in NAMES])

    sent = [spec.name for spec in toolbox.specs()]
    assert len(set(sent)) == len(NAMES)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in sent)
    assert max(map(len, sent)) == MAX_NAME
    assert sent[0] == "notes_add"


@pytest.mark.parametrize("name", NAMES)
def test_what_a_tool_is_named_is_understood_as_that_tool(name: str) -> None:
    toolbox = Toolbox([tool(each) for each in NAMES])

    sent = toolbox.sent_name(name)

    assert toolbox.qualified_name(sent) == name
    assert toolbox.call(sent, "{}").tool == name


def test_a_qualified_name_of_a_tool_is_none_that_the_model_was_told() -> None:
    with pytest.raises(BadArgumentsError):
        Toolbox([tool("notes.add")]).call("notes.add", "{}")


def test_a_title_stands_in_for_a_description() -> None:
    (spec,) = Toolbox([tool("notes.add", description="", title="Add a note")]).specs()

    assert spec.description == "Add a note"


def test_a_tool_that_was_called_and_is_gone_is_described_only_where_no_other_is() -> None:
    beside = Toolbox([tool("notes.add")], called=["clock.now"])
    alone = Toolbox([], called=["clock.now", "clock.now"])

    assert [spec.name for spec in beside.specs()] == ["notes_add"]
    assert [spec.name for spec in alone.specs()] == ["clock_now"]
    for toolbox in (beside, alone):
        assert toolbox.sent_name("clock.now") == "clock_now"
        with pytest.raises(BadArgumentsError):
            toolbox.call("clock_now", "{}")


@pytest.mark.parametrize("arguments", ["[" * 100_000, "null", '"text"', "{", "NaN", '{"a": NaN}'])
def test_arguments_that_are_no_json_object_are_refused(arguments: str) -> None:
    with pytest.raises(BadArgumentsError):
        Toolbox([tool("notes.add")]).call("notes_add", arguments)


def _nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def test_arguments_are_nested_so_deep_and_no_deeper() -> None:
    toolbox = Toolbox([tool("notes.add")])

    assert toolbox.call("notes_add", _nested(MAX_DEPTH)).tool == "notes.add"
    for levels in (MAX_DEPTH + 1, 500, 2_500):
        with pytest.raises(BadArgumentsError):
            toolbox.call("notes_add", _nested(levels))
