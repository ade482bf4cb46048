"""Many at once, on the services: a function serves one call at a time, its fleet does not."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest
from tests.doubles.interrupted import InterruptedRepository

from commons import keys
from commons.dal import Table, Update
from commons.errors import ChatError, ConflictError, NotFoundError
from commons.schemas.caller import Caller
from commons.schemas.event import Role
from commons.schemas.message import PostMessage
from commons.services.event_log import EventLogService
from rest_api.composition import Services
from rest_api.schemas import CreateChannel, UpdateChannel

ROUNDS = 10


@pytest.fixture
def repository() -> InterruptedRepository:
    return InterruptedRepository()


def caller(user: str) -> Caller:
    return Caller(user_id=user, expires_at=2**40)


def at_once(calls: Sequence[Callable[[], object]]) -> list[object]:
    """Runs the calls together; what one raises is its result."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return call()
        except ChatError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


@pytest.fixture
def make_channel(services: Services) -> Callable[..., str]:
    def make(*members: str) -> str:
        request = CreateChannel(name="n", members=list(members))
        return services.channels.create(caller("alice"), request).channel.content.channel_id

    return make


def test_reactions_of_twenty_people_at_once_all_count(
    services: Services, make_channel: Callable[..., str]
) -> None:
    people = [f"user-{number}" for number in range(20)]
    channel = make_channel(*people)
    services.messages.post(channel, caller("alice"), PostMessage(text="t"))

    at_once([partial(services.reactions.add, channel, caller(user), 1, "👍") for user in people])

    message = services.reading.message(channel, caller("alice"), 1).content
    assert sorted(message.reactions["👍"]) == sorted(people)
    assert services.channels.get(channel, caller("alice")).content.last_seq == 21


def test_of_two_owners_who_leave_at_once_one_stays(
    services: Services, make_channel: Callable[..., str]
) -> None:
    for _ in range(ROUNDS):
        channel = make_channel("bob")
        services.members.put(channel, caller("alice"), "bob", "owner")

        results = at_once(
            [
                partial(services.members.remove, channel, caller(user), user)
                for user in ("alice", "bob")
            ]
        )

        assert sum(isinstance(result, ConflictError) for result in results) == 1


def test_who_was_removed_by_another_call_is_no_member_rather_than_the_last_owner(
    services: Services, repository: InterruptedRepository, make_channel: Callable[..., str]
) -> None:
    channel = make_channel("bob")
    services.members.put(channel, caller("alice"), "bob", "owner")
    remove = partial(services.members.remove, channel, caller("alice"), "bob")
    repository.before = remove

    with pytest.raises(NotFoundError):
        remove()


def test_an_owner_is_removed_although_another_call_takes_the_role_first(
    services: Services, repository: InterruptedRepository, make_channel: Callable[..., str]
) -> None:
    channel = make_channel("bob")
    services.members.put(channel, caller("alice"), "bob", "owner")
    repository.before = partial(services.members.put, channel, caller("alice"), "bob", "member")

    services.members.remove(channel, caller("alice"), "bob")

    assert services.channels.get(channel, caller("alice")).content.member_count == 1


def test_who_is_removed_while_losing_the_role_comes_back_with_the_new_one(
    services: Services, repository: InterruptedRepository, make_channel: Callable[..., str]
) -> None:
    channel = make_channel("bob")
    services.members.put(channel, caller("alice"), "bob", "owner")
    repository.before = partial(services.members.remove, channel, caller("alice"), "bob")

    assert services.members.put(channel, caller("alice"), "bob", "member").content.role == "member"

    assert services.channels.get(channel, caller("bob")).content.member_count == 2


def test_the_thousandth_member_may_be_added_by_two_calls_at_once(
    services: Services, repository: InterruptedRepository, make_channel: Callable[..., str]
) -> None:
    channel = make_channel()
    repository.update(Table.CHANNELS, keys.channel_key(channel), Update(set={"member_count": 999}))
    put = partial(services.members.put, channel, caller("alice"), "bob", "member")
    repository.before = put

    assert put().content.user_id == "bob"


def test_of_six_removals_at_once_one_succeeds_and_the_others_find_no_member(
    services: Services, make_channel: Callable[..., str]
) -> None:
    for _ in range(ROUNDS):
        channel = make_channel("bob")
        services.members.put(channel, caller("alice"), "bob", "owner")

        results = at_once([partial(services.members.remove, channel, caller("alice"), "bob")] * 6)

        assert results.count(None) == 1
        assert sum(isinstance(result, NotFoundError) for result in results) == 5


@pytest.mark.parametrize("role", ["owner", "member"])
def test_a_change_is_answered_as_written_whatever_happens_next(
    services: Services,
    repository: InterruptedRepository,
    make_channel: Callable[..., str],
    role: Role,
) -> None:
    channel = make_channel("bob")
    services.members.put(channel, caller("alice"), "bob", "owner")
    for user_id in ("bob", "carol"):
        repository.after = partial(services.members.remove, channel, caller("alice"), user_id)

        member = services.members.put(channel, caller("alice"), user_id, role).content

        assert (member.user_id, member.role) == (user_id, role)


def test_a_renamed_channel_is_answered_as_written_whatever_happens_next(
    services: Services, repository: InterruptedRepository, make_channel: Callable[..., str]
) -> None:
    channel = make_channel()
    repository.after = partial(services.channels.delete, channel, caller("alice"))

    renamed = services.channels.update(channel, caller("alice"), UpdateChannel(name="other"))

    assert (renamed.content.name, renamed.content.last_seq) == ("other", 1)


def test_nobody_posts_after_the_event_of_their_removal(
    services: Services, make_channel: Callable[..., str]
) -> None:
    for _ in range(ROUNDS):
        channel = make_channel("bob")

        post = partial(services.messages.post, channel, caller("bob"), PostMessage(text="t"))

        at_once(
            [
                *[post] * 4,
                partial(services.members.remove, channel, caller("alice"), "bob"),
            ]
        )

        page = EventLogService(services.messages.repository).read(channel, after=0, limit=100)
        types = [event.type for event in page.items]
        assert types[-1] == "member.left"
        assert [event.seq for event in page.items] == list(range(1, len(types) + 1))


def test_an_edit_and_the_deletion_at_once_leave_no_text(
    services: Services, make_channel: Callable[..., str]
) -> None:
    for _ in range(ROUNDS):
        channel = make_channel()
        alice = caller("alice")
        services.messages.post(channel, alice, PostMessage(text="the secret"))

        at_once(
            [
                partial(services.edits.edit, channel, alice, 1, "the secret, edited"),
                partial(services.deletions.delete, channel, alice, 1),
            ]
        )

        page = EventLogService(services.messages.repository).read(channel, after=0, limit=100)
        assert "secret" not in page.to_json()
        assert services.reading.message(channel, alice, 1).content.text == ""


def test_one_idempotency_key_from_many_calls_makes_one_channel(services: Services) -> None:
    alice = caller("alice")
    request = CreateChannel(name="n")

    results = at_once(
        [lambda: services.channels.create(alice, request, idempotency_key="k").channel.content] * 16
    )

    assert len({getattr(result, "channel_id", result) for result in results}) == 1
    assert len(services.channels.page(alice, limit=100).content.items) == 1
