"""One command at a time where two would tread on each other."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.progress import Progress


@contextmanager
def exclusive(file: Path, progress: Progress) -> Iterator[None]:
    """Holds the file's lock; says so when it has to wait for it. The lock dies with its process."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note("Waiting for another command that works on this stack")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
