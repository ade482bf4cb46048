"""Thoughts that a model writes between `<think>` and `</think>` in its text."""

from typing import Final

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


class ThoughtFilter:
    """Takes thoughts out of a text that comes in pieces, wherever a tag is cut.

    Text before the first thought passes as it is; blank lines between a thought and the answer that
    follows it are dropped where nothing was said before. What seems to be a thought in the middle of
    an answer and never ends was none: the answer speaks of the tag.
    """

    def __init__(self) -> None:
        self._held = ""
        self._thought: list[str] = []
        self._thinking = False
        self._has_spoken = False
        self._has_thought = False

    def take(self, piece: str) -> str:
        """What of the text so far may be shown and was not returned before."""
        self._held += piece
        shown = ""
        while True:
            tag = _CLOSE if self._thinking else _OPEN
            before, found, after = self._held.partition(tag)
            if not found:
                break
            if not self._thinking:
                shown += self._spoken(before)
            self._thinking = not self._thinking
            self._thought = []
            self._has_thought = True
            self._held = after
        cut = len(self._held) - _begun_tag(self._held, tag)
        passed, self._held = self._held[:cut], self._held[cut:]
        if not self._thinking:
            return shown + self._spoken(passed)
        if self._has_spoken:
            self._thought.append(passed)
        return shown

    def rest(self, *, is_cut_short: bool) -> str:
        """What was held back and is no thought.

        Args:
            is_cut_short: a thought that was begun might have ended yet.
        """
        held, self._held = self._held, ""
        if not self._thinking:
            return self._spoken(held)
        is_text = self._has_spoken and not is_cut_short
        return "".join((_OPEN, *self._thought, held)) if is_text else ""

    def _spoken(self, text: str) -> str:
        if self._has_thought and not self._has_spoken:
            text = text.lstrip()
        self._has_spoken = self._has_spoken or bool(text.strip())
        return text


def _begun_tag(text: str, tag: str) -> int:
    """How many characters at the end of the text may be the beginning of the tag."""
    for length in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0
