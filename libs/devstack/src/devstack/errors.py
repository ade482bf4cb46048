"""What stops a command, said in a sentence for whoever typed it."""

from pathlib import Path

TAIL_LINES = 30


class DevstackError(Exception):
    """A step failed; `log` is the file that says more."""

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.log = log

    def explain(self) -> str:
        """The message and the last lines of the log."""
        if self.log is None or not self.log.exists():
            return self.message
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join(
            [self.message, f"The end of {self.log}:", *(f"  {line}" for line in lines)]
        )
