"""A question that is deleted while its reply is being appended is answered without text."""

from collections.abc import Callable, Sequence

from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import IRepository, PutWrite, Table, Write
from commons.schemas.caller import Caller
from commons.schemas.event import MessageCreated
from commons.schemas.generation import GenerationRequest
from commons.schemas.message import PostMessage
from commons.services.event_log import EventLogService
from commons.services.messages import MessagesService
from rest_api.services.deletions import DeletionsService
from workers_agent.services.leases import LeasesService
from workers_agent.services.replies import RepliesService

CHANNEL = "channel-1"
ALICE = Caller(user_id="alice", expires_at=2**40)


class Interrupted(InMemoryRepository):
    """Something happens right before the agent's first write."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None

    def transact(self, writes: Sequence[Write]) -> None:
        first = writes[0]
        if isinstance(first, PutWrite) and first.item.get("sender_kind") == "agent":
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile is not None:
                meanwhile()
        super().transact(writes)


def a_channel(repository: IRepository) -> None:
    repository.put(
        Table.CHANNELS,
        {
            **keys.channel_key(CHANNEL),
            "channel_id": CHANNEL,
            "name": "Channel 1",
            "created_at": "2026-01-01T00:00:00.000Z",
            "created_by": "alice",
            "agent": {"model_id": "none"},
            "member_count": 1,
            "owner_count": 1,
        },
    )
    repository.put(
        Table.CHANNELS,
        {
            **keys.member_key(CHANNEL, "alice"),
            "channel_id": CHANNEL,
            "user_id": "alice",
            "role": "owner",
            "joined_at": "2026-01-01T00:00:00.000Z",
        },
    )


def test_a_question_deleted_in_the_race_is_answered_without_text() -> None:
    repository = Interrupted()
    a_channel(repository)
    question = MessagesService(repository).post(CHANNEL, ALICE, PostMessage(text="my PIN?"))
    seq = question.event.seq
    leases = LeasesService(repository)
    claim = leases.claim(GenerationRequest(channel_id=CHANNEL, question_seq=seq, generation=1))
    assert claim is not None
    repository.meanwhile = lambda: DeletionsService(repository).delete(CHANNEL, ALICE, seq)

    RepliesService(repository, leases=leases).reply(
        claim, text="Your PIN 1234", finish_reason="stop", usage=None
    )

    *_, last = EventLogService(repository).read(CHANNEL, after=0, limit=10).items
    assert isinstance(last, MessageCreated)
    assert (last.data.text, last.data.finish_reason) == ("", "cancelled")
    assert "1234" not in repr(repository.all_items(Table.CHAT_EVENTS))
