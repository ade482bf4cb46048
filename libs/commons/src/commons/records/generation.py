"""An agent's replies while they are asked for and written, as the channels table holds them.

A reply is one row at a time: open under `open#C` from the moment it is asked for, ended under
`channel#C` from the event on that ended it (docs/adr/0027).
"""

from typing import Final, Literal

from pydantic import Field

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


class StepCall(StoredModel):
    """A call that the model asked for.

    Attributes:
        tool: its qualified name, or what the model said where there is no such tool.
        call_id: of its row; None: no call is made of it.
        arguments: JSON text, of what no call is made of; else its row has them.
        error: what the model is told where no call is made.
    """

    provider_call_id: str
    tool: str
    call_id: str | None = None
    arguments: str = "{}"
    error: str | None = None


class GenerationStep(StoredModel):
    """A model request of a reply that ended in calls, in the order the model asked for them.

    Attributes:
        text: its piece of the reply's text, as that holds it.
        usage: what it used.
    """

    text: str = ""
    calls: list[StepCall] = Field(default_factory=list)
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
        steps: the requests that ended in calls; each is laid down with its calls.
        step_count: how many, which changes of the row are conditional on.
        resumed_at: when it went on after it had waited for people; epoch milliseconds.
        cancelled_by: who cancelled it, with the question alone.
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
    steps: list[GenerationStep] = Field(default_factory=list)
    step_count: int = 0
    resumed_at: int = 0
    cancelled_by: str | None = None
    cancelled_by_name: str | None = None
    correlation_id: str | None = None

    @property
    def usage(self) -> Usage | None:
        """Of the requests whose text stands: those of the steps, and the last one."""
        counted = [each.usage for each in self.steps if each.usage is not None]
        if self.finished is not None and self.finished.usage is not None:
            counted.append(self.finished.usage)
        if not counted:
            return None
        return Usage(
            model_id=counted[-1].model_id,
            input_tokens=sum(each.input_tokens for each in counted),
            output_tokens=sum(each.output_tokens for each in counted),
        )

    @property
    def text_of_steps(self) -> str:
        """The beginning of the text, which stands; what follows is the last request's."""
        return "".join(step.text for step in self.steps)

    @property
    def key(self) -> Key:
        return keys.open_generation_key(self.channel_id, self.question_seq, self.generation)

    def is_written(self, now: int) -> bool:
        """Whether a worker holds it, which may have died a moment ago."""
        return self.status == "running" and self.lease_until > now

    def is_worth_answering(self, now: int) -> bool:
        """Whether somebody may still wait for it; the time in which it waits itself is not counted."""
        if self.status == "waiting":
            return True
        return now - max(self.asked_at, self.resumed_at) <= WORTH_ANSWERING_MILLISECONDS

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
    """The row `(channel#C, cancel)`: how many cancels there were, through which seq, whose."""

    cancels: int = 0
    through_seq: int = 0
    cancelled_by: str | None = None
    cancelled_by_name: str | None = None
