"""An agent's replies while they are asked for and written, as the channels table holds them."""

from typing import Literal

from commons.records.base import StoredModel

type GenerationStatus = Literal["unclaimed", "queued", "running", "done", "failed"]


OPEN_STATUSES: tuple[GenerationStatus, ...] = ("unclaimed", "queued", "running")
"""Of generations that no event has ended yet."""


class GenerationRecord(StoredModel):
    """The row `(channel#C, generation#question#n)` in the channels table.

    Attributes:
        status: `unclaimed` was cancelled before a worker came, `queued` was asked for by
            `regenerate`; the row of a first reply begins as `running`.
        fence: how often the generation was claimed; only the last claimant may write.
        lease_until: epoch milliseconds; a `running` generation past it is free to be taken over.
        cancels_seen: cancels of the channel that came before the row: they do not concern it.
        text: what was written at the last heartbeat; dropped at the end.
        reserved_index: no delta that was sent has this index or a higher one.
        requested_by: who asked for it; of a first reply nobody but the question's sender.
    """

    channel_id: str
    question_seq: int
    generation: int
    status: GenerationStatus
    fence: int = 0
    lease_until: int = 0
    cancelled: bool = False
    cancels_seen: int = 0
    text: str = ""
    reserved_index: int = 0
    requested_by: str | None = None
    correlation_id: str | None = None

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    def is_cancelled(self, cancels: "ChannelCancels") -> bool:
        """Whether it was cancelled by its question or with everything in the channel."""
        with_the_channel = (
            cancels.cancels > self.cancels_seen and self.question_seq <= cancels.through_seq
        )
        return self.cancelled or with_the_channel


class ChannelCancels(StoredModel):
    """The row `(channel#C, cancel)`: how many cancels there were, the last through which seq."""

    cancels: int = 0
    through_seq: int = 0
