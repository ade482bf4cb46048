"""An agent's replies while they are asked for and written, as the channels table holds them.

A reply is one row at a time: open under `open#C` from the moment it is asked for, ended under
`channel#C` from the event on that ended it (docs/adr/0027).
"""

from typing import Final, Literal

from commons import keys
from commons.dal.interface import Key
from commons.records.base import StoredModel
from commons.records.spend import NO_COST, Cost, Reservation
from commons.schemas.event import FinishReason, Usage

WORTH_ANSWERING_MILLISECONDS: Final = 3_600_000
"""Nobody waits for an answer to a question an hour old."""

type OpenStatus = Literal["queued", "running", "waiting"]


class FinishedText(StoredModel):
    """What the model ended in, laid down before it is appended: it is paid for."""

    finish_reason: FinishReason
    usage: Usage | None = None


class OpenGeneration(StoredModel):
    """The row `(open#C, generation#question#n)`: no event has ended it yet.

    Attributes:
        asked_at: epoch milliseconds.
        fence: how often the generation was claimed; only the last claimant may write.
        lease_until: epoch milliseconds; a `running` generation past it is free to be taken over.
        failed_claims: workers that died with the claim, or met an error of ours.
        cancels_seen: cancels of the channel that came before the row: they do not concern it.
        text: what was written when it was laid down last.
        finished: the text is whole and only has to be appended.
        reserved_index: no delta that was sent has this index or a higher one.
        requested_by: who pays for it: who asked the question, or asked for it anew.
        reservation: tokens that are set aside for the attempt that runs.
        unsettled: what attempts cost that no reservation covers any more.
    """

    channel_id: str
    question_seq: int
    generation: int
    status: OpenStatus
    asked_at: int
    requested_by: str
    fence: int = 0
    lease_until: int = 0
    failed_claims: int = 0
    cancelled: bool = False
    cancels_seen: int = 0
    text: str = ""
    finished: FinishedText | None = None
    reserved_index: int = 0
    reservation: Reservation | None = None
    unsettled: Cost = NO_COST
    correlation_id: str | None = None

    @property
    def key(self) -> Key:
        return keys.open_generation_key(self.channel_id, self.question_seq, self.generation)

    def is_cancelled(self, cancels: "ChannelCancels") -> bool:
        """Whether it was cancelled by its question or with everything in the channel."""
        with_the_channel = (
            cancels.cancels > self.cancels_seen and self.question_seq <= cancels.through_seq
        )
        return self.cancelled or with_the_channel


class EndedGeneration(StoredModel):
    """The row `(channel#C, generation#question#n)`: `event_seq` ended it."""

    channel_id: str
    question_seq: int
    generation: int
    event_seq: int

    @property
    def key(self) -> Key:
        return keys.generation_key(self.channel_id, self.question_seq, self.generation)


class ChannelCancels(StoredModel):
    """The row `(channel#C, cancel)`: how many cancels there were, the last through which seq."""

    cancels: int = 0
    through_seq: int = 0
