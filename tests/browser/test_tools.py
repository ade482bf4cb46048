"""Calls of tools in the web client: who decides sees what about, and decides about that."""

from collections.abc import Mapping
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from tests.browser.agent import Ask
from tests.browser.conftest import SignIn
from tests.browser.playground import Playground
from tests.browser.window import Window
from tests.doubles.tools import answers, fails, is_lost
from tests.e2e.clients import RestClient

type People = dict[str, RestClient]

CARDS = ".call .call-title"

HOSTILE = {
    "markup": "<img src=x onerror=\"window.caught='argument'\"> **bold**",
    "turned": "abc\u202egnp.exe",
    "zero\u200bwidth": "true",
    "number": 1,
}


@pytest.fixture(autouse=True)
def _quickly(playground: Playground) -> None:
    playground.agent.model.thinking_seconds = playground.agent.model.word_seconds = 0.0
    playground.agent.model.script = lambda _question: "It is done."


def a_room(people: People, *others: str, **agent: object) -> str:
    channel = people["alice"].create_channel(*others, name="tools", mode="mention")
    settings = {"tools": ["clock.*", "notes.*"], **agent}
    people["alice"].call("PATCH", f"/channels/{channel}", 200, json={"agent": settings})
    return channel


def asks(playground: Playground, *calls: tuple[str, Mapping[str, Any]], text: str = "") -> None:
    playground.agent.model.asks = lambda _question: [Ask(text, calls)]


def test_the_right_person_reads_the_request_approves_it_and_sees_it_done(
    signed_in: SignIn, people: People, playground: Playground
) -> None:
    playground.agent.tools.behaviours["notes.add"] = answers("Noted as <b>7</b>.")
    channel = a_room(people, "bob")
    alice, bob = signed_in("alice"), signed_in("bob")
    for each in (alice, bob):
        each.enter(channel)
    bob.say("@agent note: buy milk")

    bob.find(".call .call-buttons")
    asked = bob.texts(".call-arguments dt") + bob.texts(".call-arguments dd")
    alice.eventually(lambda: "Bob decides" in "".join(alice.texts(".call-who")), "who decides")
    alice_offered = alice.all(".call-buttons")
    waiting = (bob.texts(".draft .status"), alice.texts(".draft .status"))
    bob.press("Approve notes.add")

    for each, approver in ((alice, "Bob"), (bob, "you")):
        each.sees("@agent note: buy milk", "I can note that.\n\nIt is done.")
        each.shows(CARDS, f"notes.add\nDone · approved by {approver}")
    assert asked == ["text", "buy milk"]
    assert alice_offered == []
    assert waiting == (["Waits for your approval"], ["Waits for Bob\u2019s approval"])
    alice.shows_none(".draft")
    bob.click(".call summary")
    bob.shows(".call-result pre", "Noted as <b>7</b>.")
    assert bob.all(".call b") == []
    assert playground.agent.tools.names == ["notes.add"]


def test_what_is_denied_is_not_called_and_both_see_who_denied_it(
    signed_in: SignIn, people: People, playground: Playground
) -> None:
    channel = a_room(people, "bob", approval={"notes.add": "owner"})
    alice, bob = signed_in("alice"), signed_in("bob")
    for each in (alice, bob):
        each.enter(channel)
    bob.say("@agent note: buy milk")

    alice.press("Deny notes.add")

    bob.shows(CARDS, "notes.add\nDenied by Alice")
    alice.shows(CARDS, "notes.add\nDenied by you")
    assert playground.agent.tools.made == []


def test_a_decision_says_what_was_shown_and_another_request_is_not_approved_by_it(
    signed_in: SignIn, people: People, playground: Playground
) -> None:
    channel = a_room(people)
    alice = signed_in("alice")
    alice.enter(channel)
    alice.say("@agent note: buy milk")
    alice.find(".call .call-buttons")

    # The page shows other arguments than the call has: as though they had been changed on the way.
    alice.driver.execute_script("""
        const fetched = window.fetch;
        window.fetch = (url, init) => {
          if (String(url).endsWith("/decision")) {
            window.sent = JSON.parse(init.body);
            init.body = JSON.stringify({...window.sent, argumentsDigest: "0".repeat(64)});
          }
          return fetched(url, init);
        };
        """)
    alice.press("Approve notes.add")
    alice.eventually(lambda: "other arguments" in "".join(alice.texts(".toast")), "the refusal")

    sent = alice.driver.execute_script("return window.sent")
    request = people["alice"].events(channel)[-1]["data"]
    assert len(sent["argumentsDigest"]) == 64
    assert (sent["decision"], request["tool"]) == ("approve", "notes.add")
    alice.eventually(lambda: alice.find('[aria-label="Approve notes.add"]').is_enabled())
    assert playground.agent.tools.made == []


def test_arguments_are_text_that_can_be_read_as_a_whole(
    signed_in: SignIn, people: People, playground: Playground
) -> None:
    body = "\n".join(f"line {number}" for number in range(200))
    asks(playground, ("notes.add", {**HOSTILE, "body": body}))
    channel = a_room(people)
    alice = signed_in("alice")
    alice.enter(channel)
    alice.say("@agent do it")
    alice.find(".call .call-buttons")

    names, values = alice.texts(".call-arguments dt"), alice.texts(".call-arguments dd")

    assert values[:2] == [HOSTILE["markup"], "abc\\u{202e}gnp.exe"]
    assert values[2:4] == ['"true"', "1"]
    assert values[4] == body
    assert names[2] == "zero\\u{200b}width"
    assert alice.all(".call img, .call strong") == []
    assert alice.driver.execute_script("return window.caught ?? null") is None
    place = alice.find(".call-place")
    height = "return [arguments[0].scrollHeight, arguments[0].clientHeight]"
    whole, seen = alice.driver.execute_script(height, place)
    assert seen < whole
    assert place.get_attribute("tabindex") == "0"
    alice.click(".call-more")
    alice.eventually(lambda: len(set(alice.driver.execute_script(height, place))) == 1, "all")


def test_everybody_sees_what_is_not_known_and_why_something_failed(
    signed_in: SignIn, people: People, playground: Playground
) -> None:
    playground.agent.tools.behaviours |= {
        "notes.add": is_lost(),
        "clock.now": fails("The clock stands still."),
    }
    asks(playground, ("clock.now", {}), ("notes.add", {"text": "x"}))
    channel = a_room(people)
    alice = signed_in("alice")
    alice.enter(channel)
    alice.say("@agent do both")

    alice.press("Approve notes.add")

    alice.eventually(lambda: len(alice.messages) == 2, "the reply")
    alice.shows(CARDS, "clock.now\nFailed", "notes.add\nOutcome unknown · approved by you")
    failed, unknown = alice.texts(".call-note")
    assert failed == "It failed: The clock stands still."
    assert "is not known, and it is not called again" in unknown


def test_a_request_outlives_a_reload_however_much_was_said_since(
    signed_in: SignIn, people: People
) -> None:
    channel = a_room(people, "bob")
    people["alice"].post(channel, "@agent note: buy milk")
    alice = signed_in("alice")
    alice.enter(channel)
    alice.find(".call .call-buttons")
    for number in range(60):
        people["bob"].post(channel, f"message {number}")

    alice.driver.refresh()
    alice.enter(channel)
    alice.press("Approve notes.add")

    alice.eventually(lambda: alice.messages[-1].endswith("It is done."), "the reply")
    alice.shows(CARDS, "notes.add\nDone · approved by you")


def test_what_somebody_else_decided_first_is_said_and_stays(
    signed_in: SignIn, people: People
) -> None:
    channel = a_room(people, "bob", approval={"notes.add": "owner"})
    people["alice"].call("PUT", f"/channels/{channel}/members/bob", 200, json={"role": "owner"})
    alice = signed_in("alice")
    alice.enter(channel)
    alice.say("@agent note: buy milk")
    alice.find(".call .call-buttons")
    call_id = people["bob"].events(channel)[-1]["data"]["callId"]

    path = f"/channels/{channel}/tools/{call_id}/decision"
    people["bob"].call("POST", path, 200, json={"decision": "deny"})

    alice.shows(CARDS, "notes.add\nDenied by Bob")
    alice.shows_none(".call-buttons")


def test_whoever_becomes_an_owner_may_decide_what_owners_decide(
    signed_in: SignIn, people: People
) -> None:
    channel = a_room(people, "bob", approval={"notes.add": "owner"})
    bob = signed_in("bob")
    bob.enter(channel)
    bob.say("@agent note: buy milk")
    bob.eventually(lambda: "An owner decides" in "".join(bob.texts(".call-who")), "who decides")
    offered = bob.all(".call-buttons")

    people["alice"].call("PUT", f"/channels/{channel}/members/bob", 200, json={"role": "owner"})
    bob.press("Approve notes.add")

    bob.shows(CARDS, "notes.add\nDone · approved by you")
    assert offered == []


def test_a_request_whose_question_is_deleted_is_emptied(signed_in: SignIn, people: People) -> None:
    channel = a_room(people, "bob")
    bob = signed_in("bob")
    bob.enter(channel)
    seq = people["alice"].post(channel, "@agent note: a secret")["seq"]
    bob.shows(".call-arguments dd", "a secret")

    people["alice"].call("DELETE", f"/channels/{channel}/messages/{seq}", 204)

    bob.shows(CARDS, "notes.add\nCancelled by Alice")
    bob.driver.execute_script("document.querySelector('.call details').open = true")
    bob.shows(".call-body .gone", "What it was called with was deleted.")
    assert "a secret" not in bob.driver.page_source


def test_a_request_is_decided_from_the_keyboard_and_told_to_a_listener(
    signed_in: SignIn, people: People, playground: Playground
) -> None:
    channel = a_room(people)
    alice = signed_in("alice")
    alice.enter(channel)
    alice.say("@agent note: buy milk")
    alice.find(".call .call-buttons")

    told = alice.driver.execute_script(
        "return document.querySelector('[role=status].sr-only').innerText"
    )
    composer = alice.find(".composer textarea")
    composer.click()
    for _ in range(12):
        ActionChains(alice.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(
            Keys.SHIFT
        ).perform()
        if focused(alice) == "Approve notes.add":
            break
    ActionChains(alice.driver).send_keys(Keys.ENTER).perform()

    assert told == "The agent asks for your approval of notes.add."
    alice.eventually(lambda: len(playground.agent.tools.made) == 1, "the call")
    alice.shows(CARDS, "notes.add\nDone · approved by you")
    assert focused(alice).startswith("notes.add:")


def focused(shown: Window) -> str:
    label: str = shown.driver.execute_script("return document.activeElement.ariaLabel ?? ''")
    return label


def test_an_owner_chooses_tools_and_makes_a_rule_stricter(
    signed_in: SignIn, people: People
) -> None:
    channel = people["alice"].create_channel("bob", name="settings", mode="mention")
    alice = signed_in("alice")
    alice.enter(channel)
    alice.press("Channel details")
    alice.find(".tool-server")

    offered = alice.driver.execute_script(
        "return [...document.querySelectorAll('select[name=\"notes.add\"] option')].map((each) => each.value)"
    )
    alice.click('input[value="clock.*"]')
    alice.click('input[value="notes.add"]')
    alice.click('select[name="notes.add"] option[value="owner"]')
    alice.click("dialog form.form button[type=submit]")
    alice.eventually(lambda: "Saved" in alice.texts(".saved"), "the answer")

    agent = people["bob"].call("GET", f"/channels/{channel}", 200).json()["agent"]
    assert offered == ["requester", "owner"]
    assert agent["tools"] == ["clock.*", "notes.add"]
    assert agent["approval"] == {"notes.add": "owner"}
    alice.press("Close")
    alice.press("Channel details")
    alice.find(".tool-server")
    alice.click('input[value="clock.*"]')
    alice.click('input[value="clock.now"]')
    alice.click('input[value="notes.add"]')
    alice.click("dialog form.form button[type=submit]")
    alice.eventually(lambda: "Saved" in alice.texts(".saved"), "the answer")
    agent = people["bob"].call("GET", f"/channels/{channel}", 200).json()["agent"]
    assert "tools" not in agent
