"""What is written about tools goes through a version that knows nothing of them, as it is."""

import pytest
from tests.doubles.acting_room import CHANNEL, Room

from commons.dal import Item, Table
from commons.records.event import event_from_item, stored_data
from commons.schemas.event import (
    EVENT_TYPES,
    AgentView,
    ChannelUpdatedData,
    ReadAgentMode,
    UnknownEvent,
)
from commons.schemas.open import OpenSchema

ARGUMENTS = {
    "snake_case": {"inner_key": [1.0, 2, 1e21, None, True]},
    "camelCase": "as_it_is",
    "text_json": '{"a_b": 1}',
    "": "no name",
}


def items(room: Room) -> list[Item]:
    found = [
        item
        for item in room.repository.all_items(Table.CHAT_EVENTS)
        if item["channel_id"] == CHANNEL and str(item["type"]).startswith("tool.")
    ]
    return sorted(found, key=lambda item: int(str(item["seq"])))


@pytest.fixture
def acted(room: Room) -> Room:
    first, second = room.ask("anyone", arguments=[ARGUMENTS, {}])
    room.decide("bob", first)
    room.decide("bob", second, "deny")
    room.calls.start(room.row, first)
    room.calls.finish(room.row, first, "ok", "x" * 5_000)
    return room


def test_an_older_reader_shows_each_event_as_a_newer_one_does(
    acted: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = [event_from_item(item).to_wire() for item in items(acted)]
    for event_type in ("tool.requested", "tool.decided", "tool.finished"):
        monkeypatch.delitem(EVENT_TYPES, event_type)

    older = [event_from_item(item) for item in items(acted)]

    assert {type(event) for event in older} == {UnknownEvent}
    assert [event.to_wire() for event in older] == newer
    assert len(older) == 5


def test_arguments_come_back_as_they_came(acted: Room) -> None:
    assert event_from_item(items(acted)[0]).to_wire()["data"]["arguments"] == ARGUMENTS


class OlderAgentView(OpenSchema):
    mode: ReadAgentMode
    model_id: str
    system_prompt: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None


def test_an_older_reader_shows_the_names_of_tools_as_they_are() -> None:
    agent = AgentView(
        mode="always",
        model_id="m",
        tools=["my_server.do_it"],
        approval={"my_server.do_it": "owner"},
    )

    stored = stored_data(ChannelUpdatedData(agent=agent))["agent"]

    assert OlderAgentView.model_validate(stored).to_wire() == agent.to_wire()
    assert AgentView.model_validate(stored) == agent
