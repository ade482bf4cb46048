"""Thoughts that a model writes between `<think>` and `</think>` in its text."""

from typing import Final

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


_QUOTES: Final = frozenset("`\"'\u201c\u2018")
"""After one of these an answer speaks of the tag."""


class ThoughtFilter:
    """Takes thoughts out of a text that comes in pieces, wherever a tag is cut.

    Text before the first thought passes as it is; blank lines between a thought and the answer that
    follows it are dropped where nothing was said before. A thought that does not end is one to the
    end; a tag in quotation marks, in an answer that has begun, is none.
    """

    def __init__(self) -> None:
        self._held = ""
        self._last = ""
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
            self._held = after
            if not self._thinking:
                shown += self._spoken(before)
                if self._last in _QUOTES:
                    shown += self._spoken(tag)
                    continue
            self._thinking = not self._thinking
            self._has_thought = True
        cut = len(self._held) - _begun_tag(self._held, tag)
        passed, self._held = self._held[:cut], self._held[cut:]
        return shown if self._thinking else shown + self._spoken(passed)

    def rest(self) -> str:
        """What was held back as the beginning of a tag that never came."""
        held, self._held = self._held, ""
        return "" if self._thinking else self._spoken(held)

    def _spoken(self, text: str) -> str:
        if self._has_thought and not self._has_spoken:
            text = text.lstrip()
        self._has_spoken = self._has_spoken or bool(text.strip())
        self._last = text[-1:] or self._last
        return text


def _begun_tag(text: str, tag: str) -> int:
    """How many characters at the end of the text may be the beginning of the tag."""
    for length in range(min(len(text), len(tag) - 1), 0, -1):
        if text.endswith(tag[:length]):
            return length
    return 0
