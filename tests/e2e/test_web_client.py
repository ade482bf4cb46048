"""The web client as people have it: two windows of a real browser, over the four stacks."""

import re
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from tests.browser.cable import Cable
from tests.browser.window import IS_INSTALLED, WHY_NOT, Window, window
from tests.e2e.clients import RestClient

from devstack import connections
from devstack.local_stack import LocalStack
from devstack.outputs import Outputs

pytestmark = [pytest.mark.rare, pytest.mark.skipif(not IS_INSTALLED, reason=WHY_NOT)]

type ClientOf = Callable[[str], RestClient]

CUT_SECONDS = 10.0
SLOW = "Please answer slowly [[demo word_delay_ms=150]]"


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    with Cable().laid() as cable:
        yield cable


@pytest.fixture(scope="module")
def wanda(outputs: Outputs, client_of: ClientOf) -> Iterator[Window]:
    with window() as opened:
        opened.open(f"{outputs.rest_url}/")
        opened.sign_in_with(client_of("wanda").token)
        yield opened


@pytest.fixture(scope="module")
def walter(outputs: Outputs, client_of: ClientOf, cable: Cable) -> Iterator[Window]:
    """Walter's window hangs on the cable."""
    with window(proxy=cable.address) as opened:
        opened.open(f"{outputs.rest_url}/")
        opened.sign_in_with(client_of("walter").token)
        yield opened


type Open = Callable[[str], str]


@pytest.fixture
def open_room(wanda: Window, walter: Window, client_of: ClientOf) -> Open:
    """Makes a channel whose agent has that mode, and shows it in both windows."""

    def open_in_both(mode: str) -> str:
        channel_id = client_of("wanda").create_channel("walter", mode=mode, name="windows")
        for each in (wanda, walter):
            # The list is read again now and then; a reload reads it now.
            each.driver.refresh()
            each.enter(channel_id)
            each.eventually(partial(is_connected, each), "the connection")
        return channel_id

    return open_in_both


def is_connected(shown: Window) -> bool:
    return shown.texts(".connection-text") == ["Connected"]


def is_stopped(shown: Window) -> bool:
    return shown.texts(".finish") == ["Stopped"]


def has_messages(shown: Window, count: int) -> bool:
    return len(shown.messages) == count


def texts_of(client: RestClient, channel_id: str) -> list[str]:
    created = [each for each in client.events(channel_id) if each["type"] == "message.created"]
    return [each["data"]["text"] for each in created]


def test_a_newcomer_talks_with_the_agent_within_two_clicks(outputs: Outputs) -> None:
    with window() as newcomer:
        newcomer.open(outputs.rest_url)

        newcomer.sign_in_as("alice")
        newcomer.eventually(lambda: newcomer.all(".composer textarea, .nowhere .primary"))
        if not newcomer.all(".composer textarea"):
            newcomer.click(".nowhere .primary")
        newcomer.eventually(partial(is_connected, newcomer))

        assert newcomer.complaints == []


def test_two_people_talk_and_both_watch_the_agent_write(
    open_room: Open, wanda: Window, walter: Window, client_of: ClientOf
) -> None:
    room = open_room("always")
    wanda.say(SLOW)
    for each in (wanda, walter):
        each.find(".draft:not(.waiting)")
    early = walter.texts(".draft .text")[0]
    for each in (wanda, walter):
        each.eventually(partial(has_messages, each, 2), "the reply", 40)

    reply = texts_of(client_of("wanda"), room)[1]
    first_words = " ".join(early.split()[:3])
    assert re.sub(r"\W+", " ", reply).startswith(re.sub(r"\W+", " ", first_words).strip())
    assert len(early) < len(walter.messages[1])
    assert wanda.messages[1] == walter.messages[1]
    assert wanda.all(".draft") == walter.all(".draft") == []


def test_a_reload_in_the_middle_of_a_reply_goes_on_with_it(
    open_room: Open, wanda: Window, client_of: ClientOf
) -> None:
    room = open_room("always")
    wanda.say(SLOW)
    wanda.find(".draft:not(.waiting)")

    wanda.driver.refresh()
    wanda.find(".draft:not(.waiting)")
    resumed = wanda.texts(".draft .text")[0]
    wanda.eventually(lambda: len(wanda.messages) == 2, "the reply", 40)

    assert wanda.messages[1].startswith(resumed.split("\n")[0][:20])
    assert wanda.all(".draft") == []
    assert len(texts_of(client_of("wanda"), room)) == 2


def test_a_reply_is_stopped_for_both(open_room: Open, wanda: Window, walter: Window) -> None:
    open_room("always")
    wanda.say(SLOW)
    walter.find(".draft:not(.waiting)")

    walter.click(".draft .stop")

    for each in (wanda, walter):
        each.eventually(partial(is_stopped, each), "the end")


def test_ten_seconds_without_a_network_lose_and_double_nothing(
    open_room: Open, wanda: Window, walter: Window, cable: Cable, client_of: ClientOf
) -> None:
    room = open_room("off")
    walter.say("before")
    wanda.sees("before")
    sent = ["before"]

    cable.cut()
    cut_at = time.monotonic()
    try:
        walter.say("from walter, in the dark")
        while time.monotonic() < cut_at + CUT_SECONDS:
            sent.append(f"from wanda, {len(sent)}")
            client_of("wanda").post(room, sent[-1])
            wanda.sees(sent[-1])
        walter.eventually(lambda: "No connection" in "".join(walter.texts(".banner")))
    finally:
        cable.mend()
    sent.append("from walter, in the dark")

    for each in (wanda, walter):
        each.sees(*sent, seconds=40)
        assert each.messages == sent
    assert texts_of(client_of("wanda"), room) == sent


def test_a_socket_that_the_server_drops_comes_back(
    open_room: Open, wanda: Window, local_stack: LocalStack, outputs: Outputs, client_of: ClientOf
) -> None:
    room = open_room("off")
    wanda.say("before")
    wanda.sees("before")
    names = local_stack.users(outputs)

    class OnlyWanda:
        def names(self) -> list[str]:
            return [name for name in names.names() if name == "wanda"]

    assert connections.close_all(local_stack.clients, OnlyWanda()) >= 1  # type: ignore[arg-type]  # all it asks
    client_of("walter").post(room, "while it was gone")
    wanda.say("after")

    wanda.eventually(lambda: set(wanda.messages) == {"before", "while it was gone", "after"})
    assert len(texts_of(client_of("wanda"), room)) == 3


@pytest.mark.alone
def test_a_stack_that_is_started_again_finds_its_people_where_they_were(
    open_room: Open, wanda: Window, local_stack: LocalStack, client_of: ClientOf
) -> None:
    room = open_room("off")
    wanda.say("before")
    wanda.sees("before")

    local_stack.down()
    try:
        wanda.eventually(lambda: "No connection" in "".join(wanda.texts(".banner")))
        wanda.say("while it was down")
        wanda.eventually(lambda: wanda.texts(".sending"), "the message kept")
    finally:
        local_stack.up()

    wanda.eventually(lambda: wanda.messages == ["before", "while it was down"], "both", 60)
    assert texts_of(client_of("wanda"), room) == ["before", "while it was down"]
