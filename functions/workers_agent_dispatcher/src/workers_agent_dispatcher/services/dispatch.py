"""From what was appended to what the agent has to answer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from commons.dal import IRepository
from commons.dynamodb.exceptions import RepositoryError
from commons.observability import log
from commons.records.channel import AgentRecord
from commons.records.event import event_from_item
from commons.records.generation import GenerationRecord
from commons.schemas.event import MessageCreated
from commons.schemas.generation import GenerationRequest
from commons.services.base import BaseService
from commons.services.membership import MembershipService
from workers_agent_dispatcher.queue import IQueue, QueueUnavailableError
from workers_agent_dispatcher.schemas import Parked, StreamRecord

_MENTION: Final = re.compile(r"(?<!\w)@agent(?!\w)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A record that the agent has to act on."""

    record: StreamRecord
    request: GenerationRequest


class DispatchService(BaseService):
    """Queues questions. What it cannot make sense of, or cannot queue, it parks."""

    def __init__(
        self,
        queue: IQueue,
        repository: IRepository | None = None,
        *,
        membership: MembershipService | None = None,
    ) -> None:
        super().__init__(repository)
        self._queue = queue
        self._membership = membership or MembershipService(self.repository)

    def dispatch(self, records: Sequence[StreamRecord]) -> str | None:
        """Queues what the records ask of the agent.

        Returns:
            The sequence number of the first record that could be neither queued nor parked, so
            that the stream hands it over again from there; None where all is done.
        """
        wanted: list[_Wanted] = []
        unparked: list[StreamRecord] = []
        agents: dict[str, AgentRecord | None] = {}
        for record in records:
            try:
                request = self._request(record, agents)
            except (ValidationError, KeyError, TypeError, ValueError):
                self._park(record, "malformed", unparked)
            except RepositoryError:
                self._park(record, "storage", unparked)
            else:
                if request is not None:
                    wanted.append(_Wanted(record, request))
        for position in self._queue.ask([each.request for each in wanted]):
            self._park(wanted[position].record, "queue", unparked)
        log.info("dispatched", records=len(records), questions=len(wanted))
        if not unparked:
            return None
        numbers = {record.sequence_number for record in unparked}
        return next(each.sequence_number for each in records if each.sequence_number in numbers)

    def _request(
        self, record: StreamRecord, agents: dict[str, AgentRecord | None]
    ) -> GenerationRequest | None:
        if "sk" in record.image:
            return _regeneration(record)
        if "type" not in record.image:
            # Markers and message states live in the log's table too.
            return None
        event = event_from_item(record.image)
        if not isinstance(event, MessageCreated) or event.sender.kind != "user":
            return None
        if event.data.redacted:
            return None
        channel_id = event.channel_id
        if channel_id not in agents:
            channel = self._membership.find_channel(channel_id)
            agents[channel_id] = None if channel is None else channel.agent
        agent = agents[channel_id]
        if agent is None or not is_addressed(agent, event.data.text):
            return None
        return GenerationRequest(
            channel_id=channel_id,
            question_seq=event.seq,
            generation=1,
            correlation_id=_correlation_id(record),
        )

    def _park(self, record: StreamRecord, reason: str, unparked: list[StreamRecord]) -> None:
        log.error(
            "record parked", reason=reason, channel_id=record.channel_id, question_seq=record.seq
        )
        seq = record.seq if record.seq is not None else 0
        parked = Parked(channel_id=record.channel_id or "", from_seq=seq, to_seq=seq, reason=reason)
        try:
            self._queue.park(parked)
        except QueueUnavailableError:
            unparked.append(record)


def is_addressed(agent: AgentRecord, text: str) -> bool:
    """Whether the agent answers a text: in mode `mention` only one with the word `@agent`."""
    match agent.mode:
        case "always":
            return True
        case "mention":
            return _MENTION.search(text) is not None
        case "off":
            return False


def _regeneration(record: StreamRecord) -> GenerationRequest | None:
    if record.image.get("status") != "queued":
        return None
    row = GenerationRecord.model_validate(record.image)
    return GenerationRequest(
        channel_id=row.channel_id,
        question_seq=row.question_seq,
        generation=row.generation,
        correlation_id=row.correlation_id,
    )


def _correlation_id(record: StreamRecord) -> str | None:
    correlation_id = record.image.get("correlation_id")
    return correlation_id if isinstance(correlation_id, str) else None
