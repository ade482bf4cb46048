"""How the web client looks, and whether everybody can use it: each scene is held to axe's rules.

The screenshots are left in `.local/screenshots`, for a person to judge.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.browser.agent import Ask
from tests.browser.conftest import SignIn
from tests.browser.playground import Playground
from tests.browser.window import Scheme, Window
from tests.doubles.tools import answers, fails, is_lost, offer
from tests.e2e.clients import RestClient

from commons.records.tool import OfferedTool

AXE = Path(__file__).parent / "axe" / "node_modules" / "axe-core" / "axe.min.js"
SIZES = {"phone": (360, 740), "desktop": (1280, 860)}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

REPLY = """### A plan for today

Two things are **open**, and one is *done*:

- [x] write the changelog
- [ ] tag the release
  1. `git tag v2.0`
  2. push it

```python
def release(version: str) -> None:
    print(f"Released {version}")
```

| step | who | until |
| :--- | :-- | ----: |
| tests | Bob | 11:00 |
| deploy | Alice | 14:00 |

> Nothing is shipped on a Friday.

More at <https://example.com/releases>."""

MAIL = {
    "to": ["team@example.com", "carol@example.com"],
    "subject": "Release 2.0 is out",
    "body": "Dear all,\n\nrelease 2.0 is out since this morning. What is new:\n\n"
    + "\n".join(f"- change {number} of a list that goes on" for number in range(1, 40)),
    "urgent": False,
    "priority": 3,
    "attachment": {"name": "notes.pdf", "bytes": 18_231},
}
TOOLS = {
    "clock": OfferedTool(
        name="now",
        title="Current time",
        description="Says what time it is, in the time zone that is asked for.",
        read_only=True,
        approval="none",
    ),
    "mail": OfferedTool(
        name="send",
        title="Send a mail",
        description="Sends a mail to whoever is named in it. It cannot be taken back.",
        approval="requester",
    ),
    "notes": OfferedTool(
        name="add",
        title="Add a note",
        description="Keeps a note for the team.",
        approval="requester",
    ),
}


@pytest.fixture
def room(people: dict[str, RestClient], playground: Playground) -> str:
    """A channel with a bit of everything, in which bob has said something new."""
    playground.agent.model.thinking_seconds = playground.agent.model.word_seconds = 0.0
    playground.agent.model.script = lambda _question: REPLY
    alice, bob = people["alice"], people["bob"]
    for name in ("Design", "Support rota"):
        alice.create_channel("bob", name=name)
    channel = alice.create_channel("bob", "carol", name="Release 2.0", mode="mention")
    alice.post(channel, "Good morning! Is the **release** still on for today?")
    bob.post(channel, "Yes, as far as I can see.")
    bob.post(channel, "Only the changelog is missing.", replyTo=1)
    for emoji in ("👍", "🎉"):
        bob.call("PUT", f"/channels/{channel}/messages/1/reactions/{emoji}", 204)
    alice.call("PUT", f"/channels/{channel}/messages/3/reactions/👀", 204)
    return channel


@dataclass
class Judge:
    """Takes each scene's picture, and keeps what axe holds against it."""

    scheme: Scheme
    size: str
    complaints: list[str] = field(default_factory=list)

    def look(self, shown: Window, scene: str) -> None:
        shown.screenshot(f"{scene}-{self.size}-{self.scheme}")
        self.complaints += [f"{scene}: {each}" for each in complaints_of_axe(shown)]


@pytest.fixture(
    params=[(scheme, size) for scheme in ("light", "dark") for size in SIZES], ids="-".join
)
def judge(request: pytest.FixtureRequest) -> Judge:
    return Judge(*request.param)


def complaints_of_axe(window: Window) -> list[str]:
    if not AXE.exists():
        pytest.skip("axe-core is not installed: poe test-browser brings it")
    # By the protocol: the page's own policy lets no script in.
    window.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text()})
    results: dict[str, Any] = window.driver.execute_async_script(
        "axe.run({runOnly: arguments[0], resultTypes: ['violations']}).then(arguments[1])", RULES
    )
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:200]} {node['failureSummary']}"
        for each in results["violations"]
        for node in each["nodes"]
    ]


def test_each_scene_can_be_shown(
    signed_in: SignIn,
    playground: Playground,
    people: dict[str, RestClient],
    room: str,
    judge: Judge,
) -> None:
    is_phone = judge.size == "phone"
    alice = signed_in("alice")
    alice.resize(*SIZES[judge.size])
    alice.prefer(judge.scheme, reduced_motion=True)
    if is_phone:
        alice.driver.execute_script("location.hash = '#/'")
        alice.find(".sidebar")
    alice.eventually(lambda: len(alice.texts(".channel")) == 3)
    judge.look(alice, "channels")

    alice.enter(room)
    alice.say("@agent what is left to do?")
    alice.eventually(lambda: alice.texts(".message.agent:not(.draft) table"), "the reply")
    people["bob"].post(room, "Looks good to me.")
    alice.eventually(lambda: "Looks good to me." in alice.messages)
    judge.look(alice, "room")

    alice.driver.execute_script("document.querySelector('.scroller').scrollTop = 0")
    alice.click('[data-seq="1"] .head')
    alice.eventually(lambda: alice.find('[data-seq="1"] .toolbar').is_displayed())
    judge.look(alice, "message")

    alice.press("Channel details")
    alice.eventually(lambda: len(alice.all(".member")) == 3)
    judge.look(alice, "details")
    alice.press("Close")

    if is_phone:
        alice.press("All channels")
    alice.press("New channel")
    alice.find("dialog[open] #channel-name")
    judge.look(alice, "new-channel")
    alice.press("Close")

    empty = people["alice"].create_channel(name="Ideas", mode="always")
    alice.driver.refresh()
    alice.enter(empty)
    alice.find(".empty")
    judge.look(alice, "empty")

    playground.takes_sockets = False
    playground.drop_sockets()
    alice.say("This is kept.")
    alice.eventually(
        lambda: alice.texts(".sending") and "No connection" in alice.texts(".banner")[0]
    )
    judge.look(alice, "offline")

    alice.driver.execute_script("sessionStorage.clear()")
    alice.open(f"{playground.url}/")
    alice.find(".demo-user")
    judge.look(alice, "sign-in")

    assert judge.complaints == [], "\n".join(sorted(set(judge.complaints)))


def test_calls_of_tools_can_be_shown(
    signed_in: SignIn,
    playground: Playground,
    people: dict[str, RestClient],
    room: str,
    judge: Judge,
) -> None:
    for server, tool in TOOLS.items():
        offer(playground.repository, server, [tool])
    agent = playground.agent
    agent.model.script = lambda _question: "Whether the mail went out is not known: please look."
    agent.model.asks = lambda _question: [
        Ask(
            "I look at the clock first. This is what I would send:\n\n",
            [("clock.now", {}), ("mail.send", MAIL), ("notes.add", {"text": "mail the team"})],
        ),
        Ask("Now the note again:\n\n", [("notes.add", {"text": "look for the mail"})]),
    ]
    agent.tools.behaviours |= {
        "clock.now": answers('{"time": "2026-11-25T20:10:00+01:00", "zone": "Europe/Berlin"}'),
        "mail.send": is_lost(),
        "notes.add": fails("The notes cannot be reached."),
    }
    settings = {"tools": ["clock.*", "mail.send", "notes.add"], "approval": {"notes.add": "owner"}}
    people["alice"].call("PATCH", f"/channels/{room}", 200, json={"agent": settings})
    alice = signed_in("alice")
    alice.resize(*SIZES[judge.size])
    alice.prefer(judge.scheme, reduced_motion=True)
    alice.enter(room)

    question = people["bob"].post(room, "@agent please mail the team about the release")["seq"]
    alice.find(".call.ok")
    alice.eventually(lambda: len(alice.all(".call.requested")) == 2, "the requests")
    judge.look(alice, "tools-asked")

    alice.press("Deny notes.add")
    call_id = next(
        event["data"]["callId"]
        for event in people["bob"].events(room)
        if event["data"].get("tool") == "mail.send"
    )
    path = f"/channels/{room}/tools/{call_id}/decision"
    people["bob"].call("POST", path, 200, json={"decision": "approve"})
    alice.find(".call.unknown")
    alice.press("Approve notes.add")
    alice.find(".call.error")
    alice.eventually(lambda: not alice.all(".draft"), "the reply")
    alice.driver.execute_script("document.querySelector('.call.ok details').open = true")
    alice.driver.execute_script("document.querySelector('.scroller').scrollTop = 1e6")
    judge.look(alice, "tools-over")

    people["bob"].call("DELETE", f"/channels/{room}/messages/{question}", 204)
    alice.eventually(lambda: alice.all(".call .gone"), "the deletion")
    judge.look(alice, "tools-deleted")

    alice.press("Channel details")
    alice.find(".tool-server")
    alice.driver.execute_script("document.querySelector('.tool-settings').scrollIntoView()")
    judge.look(alice, "tools-settings")
    alice.press("Close")

    assert judge.complaints == [], "\n".join(sorted(set(judge.complaints)))
