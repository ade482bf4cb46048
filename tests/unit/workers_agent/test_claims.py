"""The right to write a reply, where two workers want it."""

from collections.abc import Mapping

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Condition, Item, Key, Table, Update
from commons.records.spend import NO_COST
from commons.schemas.generation import GenerationRequest
from commons.services.generation_endings import GenerationLostError
from commons.services.generations import GenerationsService
from commons.services.spend import SpendService
from workers_agent.services.claims import INDEXES_RESERVED, Claim, ClaimsService, LeaseHeldError

REQUEST = GenerationRequest(channel_id="c", question_seq=1, generation=1)
LEASE = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += int(seconds * 1_000)


class InterruptedRepository(InMemoryRepository):
    """Somebody renews the lease between the look at a reply and its take-over."""

    def __init__(self) -> None:
        super().__init__()
        self.renewed: Mapping[str, object] | None = None

    def update(
        self, table: Table, key: Key, update: Update, *, condition: Condition | None = None
    ) -> Item:
        if self.renewed is not None and update.add.get("failed_claims") == 1:
            renewed, self.renewed = self.renewed, None
            super().update(table, key, Update(set=renewed))
        return super().update(table, key, update, condition=condition)


@pytest.fixture
def storage() -> InterruptedRepository:
    storage = InterruptedRepository()
    GenerationsService(storage).ask("c", 1, "alice", correlation_id=None)
    return storage


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spend(storage: InterruptedRepository) -> SpendService:
    return SpendService(storage, channel_tokens=1_000)


@pytest.fixture
def claims(storage: InterruptedRepository, spend: SpendService, clock: Clock) -> ClaimsService:
    return ClaimsService(storage, seconds=LEASE, spend=spend, clock=clock)


def claimed(claims: ClaimsService) -> Claim:
    claim = claims.claim(REQUEST)
    assert claim is not None
    return claim


def test_a_lease_that_holds_is_waited_for_as_long_as_it_does(
    claims: ClaimsService, clock: Clock
) -> None:
    claimed(claims)
    clock.pass_seconds(LEASE - 3)

    with pytest.raises(LeaseHeldError) as held:
        claims.claim(REQUEST)

    assert held.value.seconds == 3


def test_a_lease_that_is_renewed_meanwhile_is_not_taken_over(
    claims: ClaimsService, clock: Clock, storage: InterruptedRepository
) -> None:
    first = claimed(claims)
    clock.pass_seconds(LEASE + 1)
    storage.renewed = {"lease_until": clock.now + 10_000}

    with pytest.raises(LeaseHeldError):
        claims.claim(REQUEST)

    claims.beat(first, text="I am still here", next_index=0)


def test_a_takeover_goes_on_past_every_delta_that_may_have_been_sent(
    claims: ClaimsService, clock: Clock
) -> None:
    first = claimed(claims)
    claims.beat(first, text="so far", next_index=1_000)
    clock.pass_seconds(LEASE + 1)

    assert claimed(claims).first_index == 1_000 + INDEXES_RESERVED


def test_a_worker_that_lost_its_claim_sets_nothing_aside(
    claims: ClaimsService, clock: Clock, spend: SpendService, storage: InterruptedRepository
) -> None:
    first = claimed(claims)
    clock.pass_seconds(LEASE + 1)
    assert claimed(claims).is_takeover
    new = spend.reservation("alice", "model-a", input_tokens=5, max_tokens=10)

    with pytest.raises(GenerationLostError):
        claims.reserve(first, new, old=None, cost=NO_COST)

    row = storage.get(Table.CHANNELS, keys.open_generation_key("c", 1, 1))
    assert "reservation" not in row
