"""What the demo model is told to do: by `PUT /control`, or by a directive in the question itself.

A directive reads `[[demo do=error status=500 times=2]]`, its names those of `Behaviour`. Either kind
applies to the questions that it names only, so tests that run at once do not disturb each other.
"""

import re
from collections import Counter
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

type Action = Literal["answer", "error", "hang", "break", "empty", "stream_error"]
type StreamException = Literal[
    "throttlingException",
    "modelStreamErrorException",
    "modelTimeoutException",
    "internalServerException",
    "serviceUnavailableException",
    "validationException",
]

_DIRECTIVE = re.compile(r"\[\[demo\s+([^\]]*)\]\]")


class ToldCall(BaseModel):
    """A call to ask for, such as `notes.add`; `arguments` of a string are sent as they stand."""

    model_config = ConfigDict(extra="forbid")

    tool: str
    arguments: dict[str, object] | str = {}


class Behaviour(BaseModel):
    """What to do, for which questions, how many times.

    Attributes:
        match: applies to questions that hold this text; empty: to all.
        times: for how many requests; None: for ever.
        do: `answer` as scripted; `error`: an HTTP `status` instead of an answer; `hang`: silence
            after `after_words` words; `break`: the connection is cut there; `stream_error`:
            `exception` is sent there; `empty`: an answer without text.
        word_delay_ms: between two words, instead of the server's.
        total_ms: the words are spread over that time instead.
        text: is answered instead of the script.
        calls: are asked for after the text, whether the request offers these tools or not.
        finish: the reason that is given for the end.
        retry_after: seconds, a header of an `error`.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid"
    )

    match: str = ""
    times: int | None = Field(default=None, ge=1)
    do: Action = "answer"
    status: int = Field(default=500, ge=400, le=599)
    exception: StreamException = "modelStreamErrorException"
    after_words: int = Field(default=0, ge=0)
    word_delay_ms: int | None = Field(default=None, ge=0)
    total_ms: int | None = Field(default=None, ge=0)
    text: str | None = None
    calls: list[ToldCall] = []
    finish: Literal["stop", "length", "filtered", "tool_calls"] | None = None
    retry_after: int | None = Field(default=None, ge=0)


_SCRIPTED = Behaviour()


class Behaviours:
    """Chooses the behaviour of each request: the first that matches and is not used up."""

    def __init__(self) -> None:
        self._told: list[Behaviour] = []
        self._used: Counter[int] = Counter()
        self._asked: Counter[str] = Counter()

    def tell(self, behaviours: list[Behaviour]) -> None:
        self._told.extend(behaviours)

    def forget(self, match: str | None = None) -> None:
        """Forgets what was told for exactly that `match`; everything where it is None."""
        for position, behaviour in enumerate(self._told):
            if match is None or behaviour.match == match:
                self._used[position] = -1

    def choose(self, question: str) -> Behaviour:
        self._asked[question] += 1
        for position, behaviour in enumerate(self._told):
            used = self._used[position]
            spent = used < 0 or (behaviour.times is not None and used >= behaviour.times)
            if not spent and behaviour.match in question:
                self._used[position] += 1
                return behaviour
        for directive in directives(question):
            if directive.times is None or self._asked[question] <= directive.times:
                return directive
        return _SCRIPTED


def directives(question: str) -> list[Behaviour]:
    """The behaviours a question asks for itself; what cannot be read is no directive."""
    found: list[Behaviour] = []
    for body in _DIRECTIVE.findall(question):
        fields = dict(word.split("=", 1) for word in body.split() if "=" in word)
        try:
            found.append(Behaviour.model_validate(fields))
        except ValidationError:
            continue
    return found
