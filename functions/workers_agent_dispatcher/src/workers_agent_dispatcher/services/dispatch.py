"""From what was appended to what the agent has to answer."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Final

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
from commons.services.crowding import CrowdingService
from commons.services.generations import GenerationsService, is_addressed
from commons.services.membership import MembershipService
from workers_agent_dispatcher.queue import IQueue
from workers_agent_dispatcher.schemas import Parked, Question, StreamRecord

_OPENED_AT_ONCE: Final = 8
"""A hundred questions of one channel, opened one after the other, hold up who is behind them for a
second."""

_MALFORMED: Final = (ValidationError, KeyError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A record that the agent has to act on.

    Attributes:
        asks: the question whose reply is yet to be opened; None where it is open.
    """

    record: StreamRecord
    request: GenerationRequest
    asks: MessageCreated | None = None


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
        crowding: CrowdingService,
    ) -> None:
        super().__init__(repository)
        self._queue = queue
        self._membership = membership
        self._generations = generations
        self._crowding = crowding

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
                found = self._wanted(record, agents)
            except UnavailableError as error:
                _comes_again(record, error, undone)
            except _MALFORMED:
                self._park(record, undone)
            else:
                if found is not None:
                    wanted.append(found)
        opened = self._opened(wanted, undone)
        refused = self._queue.ask(self._questions([each.request for each in opened]))
        undone += [opened[position].record for position in refused]
        log.info("dispatched", records=len(records), questions=len(opened), undone=len(undone))
        numbers = {record.sequence_number for record in undone}
        return next(
            (each.sequence_number for each in records if each.sequence_number in numbers), None
        )

    def _wanted(
        self, record: StreamRecord, agents: dict[str, AgentRecord | None]
    ) -> _Wanted | None:
        if "sk" in record.image:
            return _regeneration(record)
        if "type" not in record.image:
            # Markers and message states live in the log's table too.
            return None
        event = event_from_item(record.image)
        if isinstance(event, ToolDecided):
            return _decided(event, record)
        if not isinstance(event, MessageCreated) or event.sender.kind != "user":
            return None
        return self._asked(event, record, agents)

    def _asked(
        self, event: MessageCreated, record: StreamRecord, agents: dict[str, AgentRecord | None]
    ) -> _Wanted | None:
        if event.data.redacted:
            return None
        channel_id = event.channel_id
        if channel_id not in agents:
            channel = self._membership.find_channel(channel_id)
            agents[channel_id] = None if channel is None else channel.agent
        agent = agents[channel_id]
        if agent is None or not is_addressed(agent, event.data.text):
            return None
        request = GenerationRequest(
            channel_id=channel_id,
            question_seq=event.seq,
            generation=1,
            correlation_id=_correlation_id(record),
        )
        return _Wanted(record, request, asks=event)

    def _questions(self, requests: Sequence[GenerationRequest]) -> list[Question]:
        """Counted when all are open: other dispatchers open those of the same channel meanwhile."""
        channels = {request.channel_id for request in requests}
        crowds = {channel_id: self._crowding.of_channel(channel_id) for channel_id in channels}
        return [
            Question(request, is_crowded=crowds[request.channel_id].keeps(request))
            for request in requests
        ]

    def _opened(self, wanted: Sequence[_Wanted], undone: list[StreamRecord]) -> list[_Wanted]:
        """Those whose reply is a row by now, in their order; it has not ended yet."""
        opened: list[_Wanted] = []
        answers = [self._threads.submit(self._is_open, each) for each in wanted]
        for each, answer in zip(wanted, answers, strict=True):
            try:
                if answer.result():
                    opened.append(each)
            except UnavailableError as error:
                _comes_again(each.record, error, undone)
            except _MALFORMED:
                self._park(each.record, undone)
        return opened

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_OPENED_AT_ONCE, thread_name_prefix="open")

    def _is_open(self, wanted: _Wanted) -> bool:
        question = wanted.asks
        if question is None:
            return True
        return self._generations.ask(
            question.channel_id,
            question.seq,
            question.sender.id,
            correlation_id=wanted.request.correlation_id,
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


def _comes_again(record: StreamRecord, error: UnavailableError, undone: list[StreamRecord]) -> None:
    log.warning("record comes again", error=type(error).__name__, seq=record.seq)
    undone.append(record)


def _decided(event: ToolDecided, record: StreamRecord) -> _Wanted | None:
    """Wakes the reply that waits for it; with a call that was cancelled its reply ends anyway."""
    if event.data.decision == "cancelled":
        return None
    request = GenerationRequest(
        channel_id=event.channel_id,
        question_seq=event.data.target,
        generation=event.data.generation,
        correlation_id=_correlation_id(record),
    )
    return _Wanted(record, request)


def _regeneration(record: StreamRecord) -> _Wanted | None:
    """What `regenerate` opened; every other row was opened here, and queued."""
    if record.image.get("wakes") != "dispatcher":
        return None
    row = OpenGeneration.model_validate(record.image)
    request = GenerationRequest(
        channel_id=row.channel_id,
        question_seq=row.question_seq,
        generation=row.generation,
        correlation_id=row.correlation_id,
    )
    return _Wanted(record, request)


def _correlation_id(record: StreamRecord) -> str | None:
    correlation_id = record.image.get("correlation_id")
    return correlation_id if isinstance(correlation_id, str) else None
