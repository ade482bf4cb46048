"""Thoughts that a model writes between `<think>` and `</think>` in its text."""

from typing import Final

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


class ThoughtFilter:
    """Takes thoughts out of a text that comes in pieces, wherever a tag is cut.

    Text before the first thought passes as it is; blank lines between a thought and the answer that
    follows it are dropped where nothing was said before.
    """

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False
        self._has_spoken = False
        self._has_thought = False

    def take(self, piece: str) -> str:
        """What of the text so far may be shown and was not returned before."""
        self._held += piece
        shown: list[str] = []
        while True:
            tag = _CLOSE if self._thinking else _OPEN
            before, found, after = self._held.partition(tag)
            if not found:
                break
            if not self._thinking:
                shown.append(before)
            self._thinking = not self._thinking
            self._has_thought = True
            self._held = after
        kept = _begun_tag(self._held, tag)
        passed, self._held = (
            self._held[: len(self._held) - kept],
            self._held[len(self._held) - kept :],
        )
        if not self._thinking:
            shown.append(passed)
        return self._spoken("".join(shown))

    def rest(self) -> str:
        """What was held back as the beginning of a tag that never came."""
        held, self._held = self._held, ""
        return "" if self._thinking else self._spoken(held)

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
