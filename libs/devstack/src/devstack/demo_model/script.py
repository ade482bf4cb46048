"""What the demo model says."""

import re
from dataclasses import dataclass
from typing import Literal

from devstack.demo_model.behaviour import Behaviour

MAX_QUOTED = 200
"""Characters of the question that are quoted."""

# The agent puts a line with the sender's name above each message of a turn.
_HEADER = re.compile(r"^\u27e6[^\u27e7\n]*\u27e7\n", re.MULTILINE)
_WORD = re.compile(r"\s*\S+(?:\s*\Z)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request to the model, whatever the protocol.

    Attributes:
        text: what was asked last, without the line that names the sender.
        conversation: everything in the request, as role and text.
    """

    protocol: str
    model_id: str
    text: str
    system: str
    conversation: tuple[tuple[str, str], ...]
    max_tokens: int | None
    stream: bool
    include_usage: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """The words as they are streamed; joined they are the answer. A word counts as a token."""

    words: tuple[str, ...]
    finish: Literal["stop", "length", "filtered"]
    input_tokens: int

    @property
    def text(self) -> str:
        return "".join(self.words)


def question_of(last_user_text: str) -> str:
    """What the last of those who spoke in the turn said."""
    return _HEADER.split(last_user_text)[-1]


def answer(ask: Ask, behaviour: Behaviour) -> Answer:
    if behaviour.do == "empty":
        text = ""
    elif behaviour.text is not None:
        text = behaviour.text
    else:
        text = _scripted(ask.text)
    words = tuple(_WORD.findall(text))
    finish: Literal["stop", "length", "filtered"] = behaviour.finish or "stop"
    if ask.max_tokens is not None and len(words) > ask.max_tokens:
        words, finish = words[: ask.max_tokens], "length"
    read = [ask.system, *(text for _, text in ask.conversation)]
    return Answer(words, finish, input_tokens=sum(len(text.split()) for text in read))


def _scripted(question: str) -> str:
    quoted = " ".join(question.split())
    if len(quoted) > MAX_QUOTED:
        quoted = f"{quoted[:MAX_QUOTED]}…"
    return (
        "I am a scripted demo model, not a real one: I know nothing, and I stream word by word. "
        f"You asked: “{quoted}” Set CHAT_MODEL_URL to hear a real model answer."
    )
