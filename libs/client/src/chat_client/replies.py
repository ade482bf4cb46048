"""Replies while they are written: from delta frames, in any state, to text that only grows. Pure.

A frame may come twice, late, out of order or not at all, and a snapshot replaces all before it.
What leaves here is simple: the pieces of a reply, joined, are its text so far; a piece with
`snapshot` starts anew, which happens only where the model itself did.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from chat_client.frames import DeltaFrame
from chat_client.models import (
    AgentFailed,
    AgentFailedData,
    Event,
    MessageCreated,
    MessageCreatedData,
)

OPEN_LIMIT: Final = 64
"""Replies followed at once in a channel; the one that was silent longest makes room."""

EARLY_LIMIT: Final = 64
"""Pieces of a reply kept that came before those in front of them."""

ENDED_LIMIT: Final = 1_000
"""Questions whose ended replies are remembered."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a reply.

    Attributes:
        reply_to: the seq of the question.
        generation: 1 for the first reply to it, 2 for the first regenerated one …
        index: that of the last frame in it.
        text: what is new: append it to the text so far.
        snapshot: `text` replaces what came before instead.
        content: the whole reply so far, `text` included.
    """

    channel_id: str
    reply_to: int
    generation: int
    index: int
    text: str
    snapshot: bool
    content: str

    def then(self, later: "Delta") -> "Delta":
        """Both as one piece."""
        return Delta(
            channel_id=self.channel_id,
            reply_to=self.reply_to,
            generation=self.generation,
            index=later.index,
            text=later.text if later.snapshot else self.text + later.text,
            snapshot=self.snapshot or later.snapshot,
            content=later.content,
        )


@dataclass(slots=True)
class _Reply:
    content: str = ""
    next_index: int = 0
    early: dict[int, DeltaFrame] = field(default_factory=dict)


class Replies:
    """The replies of one channel."""

    def __init__(self, channel_id: str) -> None:
        self._channel_id = channel_id
        self._open: OrderedDict[tuple[int, int], _Reply] = OrderedDict()
        self._ended: OrderedDict[int, int] = OrderedDict()

    def open_deltas(self) -> list[Delta]:
        """Each reply that is being written, as one piece: for who joins in the middle."""
        return [
            self._delta(key, reply, reply.content, snapshot=False)
            for key, reply in self._open.items()
            if reply.content
        ]

    def take(self, frame: DeltaFrame) -> list[Delta]:
        """A frame: answers the pieces that can be shown now."""
        if frame.generation <= self._ended.get(frame.reply_to, 0):
            return []
        key = (frame.reply_to, frame.generation)
        reply = self._open.setdefault(key, _Reply())
        self._open.move_to_end(key)
        if len(self._open) > OPEN_LIMIT:
            self._open.popitem(last=False)
        if frame.index < reply.next_index:
            return []
        if frame.snapshot or frame.index == reply.next_index:
            return [*self._advance(key, reply, frame), *self._continue(key, reply)]
        if len(reply.early) < EARLY_LIMIT:
            reply.early[frame.index] = frame
        return []

    def ended(self, event: Event) -> list[Delta]:
        """An event that may end a reply: answers the last piece, where one was missed."""
        match event:
            case MessageCreated(
                data=MessageCreatedData(reply_to=int(question), generation=int(generation))
            ):
                text: str | None = event.data.text
            case AgentFailed(data=AgentFailedData(target=question, generation=generation)):
                text = None
            case _:
                return []
        self._ended[question] = max(generation, self._ended.get(question, 0))
        self._ended.move_to_end(question)
        if len(self._ended) > ENDED_LIMIT:
            self._ended.popitem(last=False)
        key = (question, generation)
        reply = self._open.pop(key, None)
        if reply is None or text is None or reply.content == text:
            return []
        return self._replace(key, reply, text)

    def _advance(self, key: tuple[int, int], reply: _Reply, frame: DeltaFrame) -> list[Delta]:
        reply.next_index = frame.index + 1
        reply.early = {
            index: early for index, early in reply.early.items() if index >= reply.next_index
        }
        if frame.snapshot:
            return self._replace(key, reply, frame.text)
        reply.content += frame.text
        return [self._delta(key, reply, frame.text, snapshot=False)]

    def _continue(self, key: tuple[int, int], reply: _Reply) -> list[Delta]:
        deltas: list[Delta] = []
        while (frame := reply.early.get(reply.next_index)) is not None:
            deltas += self._advance(key, reply, frame)
        return deltas

    def _replace(self, key: tuple[int, int], reply: _Reply, content: str) -> list[Delta]:
        """A longer version of the same text is a piece like any other."""
        before, reply.content = reply.content, content
        if content == before:
            return []
        if content.startswith(before):
            return [self._delta(key, reply, content.removeprefix(before), snapshot=False)]
        return [self._delta(key, reply, content, snapshot=True)]

    def _delta(self, key: tuple[int, int], reply: _Reply, text: str, *, snapshot: bool) -> Delta:
        return Delta(
            channel_id=self._channel_id,
            reply_to=key[0],
            generation=key[1],
            index=reply.next_index - 1,
            text=text,
            snapshot=snapshot,
            content=reply.content,
        )
