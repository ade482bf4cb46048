"""From what was appended to what the agent has to answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from commons.dal import IRepository
from commons.errors import UnavailableError
from commons.observability import log
from commons.records.channel import AgentRecord
from commons.records.event import event_from_item
from commons.records.generation import OpenGeneration
from commons.schemas.event import MessageCreated, ToolDecided
from commons.schemas.generation import GenerationRequest
from commons.services.base import BaseService
from commons.services.generations import GenerationsService, is_addressed
from commons.services.membership import MembershipService
from workers_agent_dispatcher.queue import IQueue
from workers_agent_dispatcher.schemas import Parked, StreamRecord


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A record that the agent has to act on."""

    record: StreamRecord
    request: GenerationRequest


class DispatchService(BaseService):
    """Opens a reply for each question and queues it; a decision about a call queues its reply.

    What storage or the queue does is tried again by the stream: records from the first of them on
    are handed over again, and those that were dispatched change nothing. What a record is at fault
    for itself is parked for a person.
    """

    def __init__(
        self,
        queue: IQueue,
        repository: IRepository | None = None,
        *,
        membership: MembershipService,
        generations: GenerationsService,
    ) -> None:
        super().__init__(repository)
        self._queue = queue
        self._membership = membership
        self._generations = generations

    def dispatch(self, records: Sequence[StreamRecord]) -> str | None:
        """Queues what the records ask of the agent.

        Returns:
            The sequence number of the first record that could not be dispatched, so that the
            stream hands it over again from there; None where all is done.
        """
        wanted: list[_Wanted] = []
        undone: list[StreamRecord] = []
        agents: dict[str, AgentRecord | None] = {}
        for record in records:
            try:
                request = self._request(record, agents)
            except UnavailableError as error:
                log.warning("record comes again", error=type(error).__name__, seq=record.seq)
                undone.append(record)
            except (ValidationError, KeyError, TypeError, ValueError):
                self._park(record, undone)
            else:
                if request is not None:
                    wanted.append(_Wanted(record, request))
        refused = self._queue.ask([each.request for each in wanted])
        undone += [wanted[position].record for position in refused]
        log.info("dispatched", records=len(records), questions=len(wanted), undone=len(undone))
        numbers = {record.sequence_number for record in undone}
        return next(
            (each.sequence_number for each in records if each.sequence_number in numbers), None
        )

    def _request(
        self, record: StreamRecord, agents: dict[str, AgentRecord | None]
    ) -> GenerationRequest | None:
        if "sk" in record.image:
            return _regeneration(record)
        if "type" not in record.image:
            # Markers and message states live in the log's table too.
            return None
        event = event_from_item(record.image)
        if isinstance(event, ToolDecided):
            return _decided(event, _correlation_id(record))
        if not isinstance(event, MessageCreated) or event.sender.kind != "user":
            return None
        return self._asked(event, agents, _correlation_id(record))

    def _asked(
        self,
        event: MessageCreated,
        agents: dict[str, AgentRecord | None],
        correlation_id: str | None,
    ) -> GenerationRequest | None:
        if event.data.redacted:
            return None
        channel_id = event.channel_id
        if channel_id not in agents:
            channel = self._membership.find_channel(channel_id)
            agents[channel_id] = None if channel is None else channel.agent
        agent = agents[channel_id]
        if agent is None or not is_addressed(agent, event.data.text):
            return None
        return self._opened(event, correlation_id)

    def _opened(
        self, question: MessageCreated, correlation_id: str | None
    ) -> GenerationRequest | None:
        """The request, once its reply is a row; None where the reply has ended already."""
        is_open = self._generations.ask(
            question.channel_id, question.seq, question.sender.id, correlation_id=correlation_id
        )
        if not is_open:
            return None
        return GenerationRequest(
            channel_id=question.channel_id,
            question_seq=question.seq,
            generation=1,
            correlation_id=correlation_id,
        )

    def _park(self, record: StreamRecord, undone: list[StreamRecord]) -> None:
        log.error("record parked", channel_id=record.channel_id, question_seq=record.seq)
        seq = record.seq if record.seq is not None else 0
        parked = Parked(
            channel_id=record.channel_id or "", from_seq=seq, to_seq=seq, reason="malformed"
        )
        try:
            self._queue.park(parked)
        except UnavailableError:
            undone.append(record)


def _decided(event: ToolDecided, correlation_id: str | None) -> GenerationRequest | None:
    """Wakes the reply that waits for it; with a call that was cancelled its reply ends anyway."""
    if event.data.decision == "cancelled":
        return None
    return GenerationRequest(
        channel_id=event.channel_id,
        question_seq=event.data.target,
        generation=event.data.generation,
        correlation_id=correlation_id,
    )


def _regeneration(record: StreamRecord) -> GenerationRequest | None:
    """What `regenerate` opened; every other row was opened here, and queued."""
    if record.image.get("wakes") != "dispatcher":
        return None
    row = OpenGeneration.model_validate(record.image)
    return GenerationRequest(
        channel_id=row.channel_id,
        question_seq=row.question_seq,
        generation=row.generation,
        correlation_id=row.correlation_id,
    )


def _correlation_id(record: StreamRecord) -> str | None:
    correlation_id = record.image.get("correlation_id")
    return correlation_id if isinstance(correlation_id, str) else None
