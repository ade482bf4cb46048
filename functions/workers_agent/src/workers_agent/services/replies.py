"""How a generation ends: one event, in one transaction with its row and its marker."""

from commons import keys
from commons.dal import IRepository, Item, NotExists, PutWrite, Table, Write
from commons.ids import AGENT_ID
from commons.records.generation import GenerationStatus
from commons.schemas.event import (
    AgentFailedData,
    Event,
    EventData,
    FailureReason,
    FinishReason,
    MessageCreatedData,
    Sender,
    Usage,
)
from commons.services.base import BaseService
from commons.services.event_log import Draft, EventLogService
from workers_agent.services.leases import Claim, LeaseLostError, LeasesService

AGENT: Sender = Sender(id=AGENT_ID, kind="agent")


class RepliesService(BaseService):
    """Appends what a generation came to, once, whoever else tries."""

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        leases: LeasesService,
        event_log: EventLogService | None = None,
    ) -> None:
        super().__init__(repository)
        self._leases = leases
        self._event_log = event_log or EventLogService(self.repository)

    def reply(
        self, claim: Claim, *, text: str, finish_reason: FinishReason, usage: Usage | None
    ) -> Event:
        """Appends the agent's message; `cancelled` if the question was deleted meanwhile.

        Raises:
            LeaseLostError: another worker ends this generation, or has done so.
            ChannelNotFoundError: the channel was deleted.
        """
        request = claim.request

        def data() -> MessageCreatedData:
            question = self._event_log.get_message(request.channel_id, request.question_seq)
            is_deleted = question.data.redacted
            return MessageCreatedData(
                text="" if is_deleted else text,
                reply_to=request.question_seq,
                generation=request.generation,
                finish_reason="cancelled" if is_deleted else finish_reason,
                usage=usage,
            )

        return self._event_log.append(
            request.channel_id,
            lambda: self._draft(claim, data(), status="done"),
        )

    def fail(self, claim: Claim, reason: FailureReason) -> Event:
        """Appends `agent.failed`.

        Raises:
            LeaseLostError: another worker ends this generation, or has done so.
            ChannelNotFoundError: the channel was deleted.
        """
        request = claim.request
        data = AgentFailedData(
            target=request.question_seq, generation=request.generation, reason=reason
        )
        return self._event_log.append(
            request.channel_id,
            lambda: self._draft(claim, data, status="failed"),
        )

    def _draft(self, claim: Claim, data: EventData, *, status: GenerationStatus) -> Draft:
        request = claim.request
        marker_key = keys.reply_marker_key(
            request.channel_id, request.question_seq, request.generation
        )

        def writes(seq: int) -> list[Write]:
            marker: Item = {**marker_key, "event_seq": seq}
            return [
                PutWrite(Table.CHAT_EVENTS, marker, NotExists("channel_id")),
                self._leases.end(claim, status),
            ]

        return Draft(sender=AGENT, data=data, writes=writes, on_rejected=_lease_lost)


def _lease_lost(_position: int, _item: Item | None) -> None:
    raise LeaseLostError
