from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from tests.doubles.canary import canary
from tests.doubles.repository import InMemoryRepository
from tests.doubles.yesterday import YesterdaysRepository

from commons import keys
from commons.dal import DeleteWrite, Item, Query, Table, Update
from commons.dynamodb.exceptions import StorageBusyError
from commons.records.channel import ChannelRecord
from commons.records.generation import EndedGeneration
from commons.schemas.generation import GenerationRequest
from commons.services.crowding import PLACES, Crowd, CrowdingService
from commons.services.generations import GenerationsService
from commons.services.membership import MembershipService
from workers_agent_dispatcher.schemas import Parked, Question, StreamRecord
from workers_agent_dispatcher.services.dispatch import DispatchService

CHANNEL = "channel-1"
FORGOTTEN_SEQ = 2


class RecordingQueue:
    """Takes everything, but what it is told to refuse."""

    def __init__(self, *, refuses: bool = False, parks: bool = True) -> None:
        self.questions: list[Question] = []
        self.parked: list[Parked] = []
        self._refuses = refuses
        self._parks = parks

    @property
    def asked(self) -> list[GenerationRequest]:
        return [question.request for question in self.questions]

    def ask(self, questions: Sequence[Question]) -> list[int]:
        if self._refuses:
            return list(range(len(questions)))
        self.questions.extend(questions)
        return []

    def park(self, parked: Parked) -> None:
        if not self._parks:
            raise StorageBusyError("full")
        self.parked.append(parked)


class ForgetfulGenerations(GenerationsService):
    """Storage does not take the row of one question."""

    def ask(
        self, channel_id: str, question_seq: int, user_id: str, *, correlation_id: str | None
    ) -> bool:
        if question_seq == FORGOTTEN_SEQ:
            raise StorageBusyError("busy")
        return super().ask(channel_id, question_seq, user_id, correlation_id=correlation_id)


class BusyMembership(MembershipService):
    def find_channel(self, channel_id: str) -> ChannelRecord | None:  # noqa: ARG002 - always busy
        raise StorageBusyError("busy")


def _message(seq: int = 1, text: str = "hello", **changes: object) -> StreamRecord:
    image: Item = {
        "channel_id": CHANNEL,
        "seq": seq,
        "type": "message.created",
        "created_at": "2026-01-01T00:00:00.000Z",
        "sender_id": "alice",
        "sender_kind": "user",
        "data": {"text": text},
        "message_seq": seq,
        "correlation_id": "correlation-1",
    }
    return StreamRecord(f"sn-{seq}", CHANNEL, seq, image | changes)


def _channel(repository: InMemoryRepository, **agent: object) -> None:
    item: Item = {
        **keys.channel_key(CHANNEL),
        "channel_id": CHANNEL,
        "name": "General",
        "created_at": "2026-01-01T00:00:00.000Z",
        "created_by": "alice",
        "member_count": 1,
        "owner_count": 1,
        "agent": {"model_id": "m", **agent},
    }
    repository.put(Table.CHANNELS, item)


@pytest.fixture
def queue() -> RecordingQueue:
    return RecordingQueue()


@pytest.fixture
def service(queue: RecordingQueue, repository: InMemoryRepository) -> DispatchService:
    return dispatcher(queue, repository)


def dispatcher(
    queue: RecordingQueue,
    repository: InMemoryRepository,
    membership: MembershipService | None = None,
    *,
    generations: GenerationsService | None = None,
    crowding: CrowdingService | None = None,
) -> DispatchService:
    return DispatchService(
        queue,
        repository,
        membership=membership or MembershipService(repository),
        generations=generations or GenerationsService(repository),
        crowding=crowding or CrowdingService(repository, workers=20),
    )


def test_a_users_message_is_queued_without_its_text(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")

    assert service.dispatch([_message(seq=7, text="a secret")]) is None

    assert queue.asked == [
        GenerationRequest(
            channel_id=CHANNEL, question_seq=7, generation=1, correlation_id="correlation-1"
        )
    ]
    assert "secret" not in queue.asked[0].to_json()


def test_a_channel_that_says_nothing_of_its_agent_is_answered(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository)

    service.dispatch([_message()])

    assert len(queue.asked) == 1


def test_the_agent_never_answers_an_agent(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")

    service.dispatch([_message(sender_kind="agent", sender_id="#agent")])

    assert queue.asked == []


def _decided(decision: str) -> StreamRecord:
    data = {"target": 3, "generation": 2, "call_id": "call-1", "decision": decision}
    return _message(seq=9, type="tool.decided", message_seq=None, data=data)


@pytest.mark.parametrize("decision", ["approved", "denied", "expired"])
def test_a_decision_about_a_call_wakes_its_reply(
    service: DispatchService, queue: RecordingQueue, decision: str
) -> None:
    assert service.dispatch([_decided(decision)]) is None

    assert queue.asked == [
        GenerationRequest(
            channel_id=CHANNEL, question_seq=3, generation=2, correlation_id="correlation-1"
        )
    ]


def test_a_call_that_is_cancelled_wakes_nobody_because_its_reply_ends(
    service: DispatchService, queue: RecordingQueue
) -> None:
    service.dispatch([_decided("cancelled")])

    assert queue.asked == []


@pytest.mark.parametrize("event_type", ["message.edited", "message.deleted", "reaction.added"])
def test_no_other_event_wakes_the_agent(
    service: DispatchService,
    queue: RecordingQueue,
    repository: InMemoryRepository,
    event_type: str,
) -> None:
    _channel(repository, mode="always")
    data: Item = {"target": 1, "text": "x", "emoji": "x"}

    service.dispatch([_message(type=event_type, data=data)])

    assert queue.asked == []
    assert queue.parked == []


def test_markers_in_the_logs_table_are_none_of_its_business(
    service: DispatchService, queue: RecordingQueue
) -> None:
    marker: Item = {"channel_id": "idem#c#alice#1", "seq": 0, "event_seq": 3}

    assert service.dispatch([StreamRecord("sn-1", "idem#c#alice#1", 0, marker)]) is None

    assert queue.parked == []


def test_mode_off_is_silent(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="off")

    service.dispatch([_message(text="@agent hello")])

    assert queue.asked == []


@pytest.mark.parametrize(
    "text",
    ["@agent hi", "hi @AGENT", "(@Agent)", "well,@agent!", "@agent-please", "日本 @agent 語"],
)
def test_mode_mention_answers_the_word(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository, text: str
) -> None:
    _channel(repository, mode="mention")

    service.dispatch([_message(text=text)])

    assert len(queue.asked) == 1


@pytest.mark.parametrize(
    "text", ["hello", "@agents", "me@agent.org", "agent", "@ agent", "@agent_x"]
)
def test_mode_mention_is_silent_without_the_word(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository, text: str
) -> None:
    _channel(repository, mode="mention")

    service.dispatch([_message(text=text)])

    assert queue.asked == []


def test_a_deleted_channel_is_silent(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")
    channel = repository.get(Table.CHANNELS, keys.channel_key(CHANNEL))
    repository.put(Table.CHANNELS, {**channel, "deleted": True})

    service.dispatch([_message()])

    assert queue.asked == []
    assert queue.parked == []


def test_a_message_deleted_before_it_was_dispatched_is_not_asked(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")

    service.dispatch([_message(data={"text": "", "redacted": True})])

    assert queue.asked == []


def test_a_new_generation_is_queued_as_it_says(
    service: DispatchService, queue: RecordingQueue
) -> None:
    row: Item = {
        **keys.open_generation_key(CHANNEL, 4, 2),
        "channel_id": CHANNEL,
        "question_seq": 4,
        "generation": 2,
        "status": "queued",
        "asked_at": 0,
        "wakes": "dispatcher",
        "requested_by": "alice",
        "correlation_id": "correlation-2",
    }

    service.dispatch([StreamRecord("sn-1", CHANNEL, 4, row)])

    assert queue.asked == [
        GenerationRequest(
            channel_id=CHANNEL, question_seq=4, generation=2, correlation_id="correlation-2"
        )
    ]


def test_a_question_is_an_open_reply_from_its_dispatch_on(
    service: DispatchService, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")

    service.dispatch([_message(seq=7)])

    (row,) = GenerationsService(repository).list_open(CHANNEL)
    assert (row.question_seq, row.generation, row.status) == (7, 1, "queued")
    assert row.requested_by == "alice"


def test_a_row_that_a_dispatcher_made_is_not_queued_again(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")
    service.dispatch([_message(seq=7)])
    row = repository.get(Table.CHANNELS, keys.open_generation_key(CHANNEL, 7, 1))

    service.dispatch([StreamRecord("sn-8", CHANNEL, 7, row)])

    assert len(queue.asked) == 1


def test_a_record_that_comes_again_wakes_a_worker_again(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")

    service.dispatch([_message(seq=7)])
    service.dispatch([_message(seq=7)])

    assert len(queue.asked) == 2
    assert len(GenerationsService(repository).list_open(CHANNEL)) == 1


def test_a_question_whose_reply_has_ended_is_not_asked_again(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")
    ended = EndedGeneration(channel_id=CHANNEL, question_seq=7, generation=1, event_seq=8)
    repository.put(Table.CHANNELS, {**ended.key, **ended.model_dump()})

    assert service.dispatch([_message(seq=7)]) is None

    assert queue.asked == []


def test_a_malformed_record_is_parked_and_the_others_go_on(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")

    undone = service.dispatch([_message(seq=1, data={"nonsense": "secret"}), _message(seq=2)])

    assert undone is None
    assert queue.parked == [Parked(channel_id=CHANNEL, from_seq=1, to_seq=1, reason="malformed")]
    assert [request.question_seq for request in queue.asked] == [2]


def test_what_storage_cannot_say_comes_again_and_is_parked_for_nobody(
    queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    service = dispatcher(queue, repository, BusyMembership(repository))

    assert service.dispatch([_message(seq=3), _message(seq=4)]) == "sn-3"

    assert queue.parked == []


def test_neither_what_was_asked_nor_what_is_malformed_gets_out(
    queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    service = dispatcher(queue, repository, BusyMembership(repository))

    service.dispatch([_message(seq=3, text=canary("text")), _message(seq=4, data=canary("bad"))])

    assert canary("text") not in repr(queue.parked)


def test_what_the_queue_refuses_comes_again(repository: InMemoryRepository) -> None:
    queue = RecordingQueue(refuses=True)
    _channel(repository, mode="always")
    records = [_message(seq=2, sender_kind="agent"), _message(seq=3), _message(seq=4)]

    assert dispatcher(queue, repository).dispatch(records) == "sn-3"

    assert queue.parked == []


def test_what_cannot_be_parked_comes_again(repository: InMemoryRepository) -> None:
    queue = RecordingQueue(parks=False)
    _channel(repository, mode="always")
    records = [_message(seq=3), _message(seq=4, data={"nonsense": "secret"})]

    assert dispatcher(queue, repository).dispatch(records) == "sn-4"


def _crowded(queue: RecordingQueue) -> list[bool]:
    return [question.is_crowded for question in queue.questions]


def test_what_a_channel_asks_beyond_its_share_waits_apart(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")

    service.dispatch([_message(seq=seq) for seq in range(1, PLACES + 3)])

    assert _crowded(queue) == [False] * PLACES + [True] * 2


@pytest.mark.parametrize(("workers", "places"), [(2, 1), (5, 2), (10, 5), (20, 10), (1000, 10)])
def test_one_channel_has_half_of_the_workers_at_most(
    queue: RecordingQueue, repository: InMemoryRepository, workers: int, places: int
) -> None:
    _channel(repository, mode="always")
    service = dispatcher(queue, repository, crowding=CrowdingService(repository, workers=workers))

    service.dispatch([_message(seq=seq) for seq in range(1, 2 * PLACES)])

    assert _crowded(queue).count(False) == places


def test_replies_that_are_open_already_count(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")

    for seq in range(1, PLACES + 2):
        service.dispatch([_message(seq=seq)])

    assert _crowded(queue) == [False] * PLACES + [True]


@pytest.mark.parametrize("seed", range(3))
def test_what_was_opened_a_moment_ago_counts(queue: RecordingQueue, seed: int) -> None:
    repository = YesterdaysRepository(seed=seed)
    _channel(repository, mode="always")

    for seq in range(1, PLACES + 3):
        dispatcher(queue, repository).dispatch([_message(seq=seq)])

    assert _crowded(queue) == [False] * PLACES + [True] * 2


def test_a_channel_that_has_its_replies_is_crowded_no_more(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")
    service.dispatch([_message(seq=seq) for seq in range(1, PLACES + 3)])
    ended = [row.key for row in GenerationsService(repository).list_open(CHANNEL)]
    repository.transact([DeleteWrite(Table.CHANNELS, key) for key in ended])

    service.dispatch([_message(seq=PLACES + 3)])

    assert not _crowded(queue)[-1]


def test_replies_that_wait_for_people_crowd_nobody(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")
    service.dispatch([_message(seq=seq) for seq in range(1, 5 * PLACES)])
    for row in GenerationsService(repository).list_open(CHANNEL):
        repository.update(Table.CHANNELS, row.key, Update(set={"status": "waiting"}))
    queue.questions.clear()

    service.dispatch([_message(seq=5 * PLACES + seq) for seq in range(PLACES + 1)])

    assert _crowded(queue) == [False] * PLACES + [True]


def test_a_batch_that_comes_again_is_queued_as_before(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")
    batch = [_message(seq=seq) for seq in range(1, PLACES + 3)]
    service.dispatch(batch)
    before = _crowded(queue)
    queue.questions.clear()

    service.dispatch(batch)

    assert _crowded(queue) == before


def test_dispatchers_that_read_the_same_channel_side_by_side_share_its_places(
    queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")
    together = 4
    opened = Barrier(together)

    class Together(CrowdingService):
        def of_channel(self, channel_id: str) -> Crowd:
            opened.wait()
            return super().of_channel(channel_id)

    def dispatch(first: int) -> None:
        service = dispatcher(queue, repository, crowding=Together(repository, workers=20))
        service.dispatch([_message(seq=first + seq) for seq in range(PLACES)])

    with ThreadPoolExecutor(together) as threads:
        list(threads.map(dispatch, range(1, 1 + together * PLACES, PLACES)))

    assert _crowded(queue).count(False) == PLACES


def _regenerated(seq: int) -> StreamRecord:
    row: Item = {
        **keys.open_generation_key(CHANNEL, seq, 2),
        "channel_id": CHANNEL,
        "question_seq": seq,
        "generation": 2,
        "status": "queued",
        "asked_at": 0,
        "wakes": "dispatcher",
        "requested_by": "alice",
    }
    return StreamRecord(f"sn-r{seq}", CHANNEL, seq, row)


def test_replies_asked_for_anew_go_behind_those_that_are_open(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    for seq in range(3 * PLACES, 0, -1):
        record = _regenerated(seq)
        repository.put(Table.CHANNELS, record.image)
        service.dispatch([record])

    assert _crowded(queue) == [False] * PLACES + [True] * 2 * PLACES


def test_a_first_reply_that_people_have_decided_about_goes_where_its_question_went(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")
    service.dispatch([_message(seq=seq) for seq in range(1, PLACES + 3)])
    queue.questions.clear()
    decided = [
        _message(
            seq=50 + target,
            type="tool.decided",
            message_seq=None,
            data={"target": target, "generation": 1, "call_id": "c", "decision": "approved"},
        )
        for target in (1, PLACES + 2)
    ]

    service.dispatch(decided)

    assert _crowded(queue) == [False, True]


def test_ten_replies_asked_for_anew_in_a_quiet_channel_do_not_crowd_it(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    records = [_regenerated(seq) for seq in range(1, PLACES + 1)]
    for record in records:
        repository.put(Table.CHANNELS, record.image)

    service.dispatch(records)

    assert _crowded(queue) == [False] * PLACES


def test_a_question_whose_crowd_cannot_be_read_waits_apart_and_is_not_held_up(
    queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    class Unreadable(InMemoryRepository):
        def iterate(self, query: Query) -> Iterator[Item]:  # noqa: ARG002 - never read
            raise StorageBusyError("busy")

    _channel(repository, mode="always")
    service = dispatcher(queue, repository, crowding=CrowdingService(Unreadable(), workers=20))

    assert service.dispatch([_message()]) is None

    assert _crowded(queue) == [True]


def test_another_channels_question_does_not_wait_with_a_crowd(
    service: DispatchService, queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")
    quiet = repository.get(Table.CHANNELS, keys.channel_key(CHANNEL))
    repository.put(Table.CHANNELS, {**quiet, **keys.channel_key("quiet"), "channel_id": "quiet"})
    crowd = [_message(seq=seq) for seq in range(1, 3 * PLACES)]
    elsewhere = _message(seq=1, channel_id="quiet")

    service.dispatch([*crowd, replace(elsewhere, sequence_number="sn-q", channel_id="quiet")])

    assert queue.asked[-1].channel_id == "quiet"
    assert not _crowded(queue)[-1]


def test_a_question_whose_row_storage_does_not_take_comes_again_and_the_others_go_on(
    queue: RecordingQueue, repository: InMemoryRepository
) -> None:
    _channel(repository, mode="always")
    service = dispatcher(queue, repository, generations=ForgetfulGenerations(repository))

    undone = service.dispatch([_message(seq=seq) for seq in (1, FORGOTTEN_SEQ, 3)])

    assert undone == f"sn-{FORGOTTEN_SEQ}"
    assert [request.question_seq for request in queue.asked] == [1, 3]
