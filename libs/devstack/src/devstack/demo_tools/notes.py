"""The notes, in a file of the local stack's state."""

import json
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TypedDict


class Note(TypedDict):
    """A note.

    Attributes:
        key: the idempotency key that it came with.
        times: how often it was asked for: more than once, and somebody called again.
    """

    text: str
    key: str | None
    at: str
    times: int


class Notes:
    """Notes in the order in which they were added.

    Args:
        file: keeps them; made with the first.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = Lock()

    def all(self) -> list[Note]:
        """All of them, the oldest first."""
        if not self._file.exists():
            return []
        notes: list[Note] = json.loads(self._file.read_text())
        return notes

    def add(self, text: str, key: str | None) -> int:
        """The note's number, from 1 on; with a key that is known, that of the note it came with."""
        with self._lock:
            notes = self.all()
            known = [each for each in notes if key is not None and each["key"] == key]
            for note in known:
                note["times"] += 1
            if not known:
                at = datetime.now(UTC).isoformat(timespec="seconds")
                notes.append(Note(text=text, key=key, at=at, times=1))
            self._write(notes)
            return notes.index(known[0]) + 1 if known else len(notes)

    def _write(self, notes: list[Note]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(json.dumps(notes, ensure_ascii=False, indent=1))
        unfinished.replace(self._file)
