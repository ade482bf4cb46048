"""Who types, as the connections table holds it."""

from commons.records.base import StoredModel


class TypingRecord(StoredModel):
    """A row `(typing#C, U)`, one a user and channel (docs/adr/0055).

    Attributes:
        typing: what the channel was last told.
        at: epoch milliseconds, when; 0: never.
        wanted: what the user has said since, where the channel is to be told that later. It
            wakes the worker when it appears.
        wanted_at: epoch milliseconds, when it was last said.
    """

    typing: bool = False
    at: int = 0
    wanted: bool | None = None
    wanted_at: int = 0

    @property
    def latest(self) -> bool:
        return self.typing if self.wanted is None else self.wanted
