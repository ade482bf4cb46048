"""What the demo model says."""

import json
import re
from dataclasses import dataclass
from typing import Literal

from devstack.demo_model.behaviour import Behaviour

MAX_QUOTED = 200
"""Characters of the question, or of a tool's result, that are quoted."""

# The agent puts a line with the sender's name above each message of a turn.
_HEADER = re.compile(r"^\u27e6[^\u27e7\n]*\u27e7\n", re.MULTILINE)
_WORD = re.compile(r"\s*\S+(?:\s*\Z)?")
_NOTE = re.compile(r"^\s*(?:@agent\s+)?note:\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_TIME = re.compile(r"\bwhat time is it\b", re.IGNORECASE)


type Finish = Literal["stop", "length", "filtered", "tool_calls"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the model asks for; `arguments` is sent as it stands, JSON or not."""

    call_id: str
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to the model, whatever the protocol.

    Attributes:
        text: what was asked last, without the line that names the sender.
        conversation: everything in the request, as role and text.
        tools: names of those that the request offers.
        results: what came of the calls of this answer so far.
    """

    protocol: str
    model_id: str
    text: str
    system: str
    conversation: tuple[tuple[str, str], ...]
    max_tokens: int | None
    stream: bool
    include_usage: bool = True
    tools: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The words as they are streamed; joined they are the answer. A word counts as a token."""

    words: tuple[str, ...]
    finish: Finish
    input_tokens: int
    calls: tuple[Call, ...] = ()

    @property
    def text(self) -> str:
        return "".join(self.words)


def question_of(last_user_text: str) -> str:
    """What the last of those who spoke in the turn said."""
    return _HEADER.split(last_user_text)[-1]


def answer(ask: Ask, behaviour: Behaviour) -> Answer:
    calls = _calls(ask, behaviour)
    if behaviour.do == "empty":
        text = ""
    elif behaviour.text is not None:
        text = behaviour.text
    elif behaviour.calls:
        text = ""
    elif calls:
        text = f"I am asking for {' and '.join(call.tool for call in calls)}."
    elif ask.results:
        text = " ".join(f"The tool says: “{_quoted(result)}”" for result in ask.results)
    else:
        text = _scripted(ask.text)
    words = tuple(_WORD.findall(text))
    finish: Finish = behaviour.finish or ("tool_calls" if calls else "stop")
    if ask.max_tokens is not None and len(words) > ask.max_tokens:
        words, finish = words[: ask.max_tokens], "length"
    read = [ask.system, *(text for _, text in ask.conversation), *ask.results]
    return Answer(words, finish, sum(len(text.split()) for text in read), calls)


def _calls(ask: Ask, behaviour: Behaviour) -> tuple[Call, ...]:
    """What the model was told to ask for, else what a fixed phrase of the question asks for."""
    wanted = [
        (told.tool, told.arguments if isinstance(told.arguments, str) else _json(told.arguments))
        for told in behaviour.calls
    ]
    is_scripted = behaviour.do == "answer" and behaviour.text is None and not behaviour.calls
    if is_scripted and not ask.results:
        wanted += [("notes.add", _json({"text": text})) for text in _NOTE.findall(ask.text)]
        wanted += [("clock.now", "{}")] if _TIME.search(ask.text) else []
        wanted = [(tool, arguments) for tool, arguments in wanted if _sent_name(tool) in ask.tools]
    return tuple(
        Call(f"demo-{len(ask.results)}-{position}", _sent_name(tool), arguments)
        for position, (tool, arguments) in enumerate(wanted)
    )


def _sent_name(tool: str) -> str:
    """As the agent names a tool to a model: no provider takes a dot."""
    return tool.replace(".", "_")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _scripted(question: str) -> str:
    return (
        "I am a scripted demo model, not a real one: I know nothing, and I stream word by word. "
        f"You asked: “{_quoted(question)}” Set CHAT_MODEL_URL to hear a real model answer."
    )


def _quoted(text: str) -> str:
    quoted = " ".join(text.split())
    return quoted if len(quoted) <= MAX_QUOTED else f"{quoted[:MAX_QUOTED]}…"
