import threading
import time

import pytest
from tests.doubles.repository import InMemoryRepository

from commons import keys
from commons.dal import Query, Table
from commons.errors import UnauthenticatedError
from commons.schemas.caller import Caller
from commons.services.tickets import TICKET_SECONDS, TicketsService, _digest

from .conftest import caller


@pytest.fixture
def tickets(repository: InMemoryRepository) -> TicketsService:
    return TicketsService(repository)


def test_a_ticket_stands_for_the_caller_and_the_end_of_the_token(tickets: TicketsService) -> None:
    alice = caller("alice")
    ticket = tickets.issue(alice)
    assert ticket.expires_in == TICKET_SECONDS == 60
    assert tickets.spend(ticket.ticket) == alice


def test_a_caller_without_a_name_keeps_none(tickets: TicketsService) -> None:
    nameless = Caller(user_id="bob", expires_at=2**40)
    assert tickets.spend(tickets.issue(nameless).ticket) == nameless


def test_a_ticket_is_spent_once(tickets: TicketsService) -> None:
    ticket = tickets.issue(caller()).ticket
    tickets.spend(ticket)
    with pytest.raises(UnauthenticatedError):
        tickets.spend(ticket)


def test_of_many_who_spend_a_ticket_at_once_one_wins(tickets: TicketsService) -> None:
    ticket = tickets.issue(caller()).ticket
    starting_line = threading.Barrier(16)
    results: list[bool] = []

    def race() -> None:
        starting_line.wait()
        try:
            tickets.spend(ticket)
        except UnauthenticatedError:
            results.append(False)
        else:
            results.append(True)

    racers = [threading.Thread(target=race) for _ in range(16)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(results) == [False] * 15 + [True]


@pytest.mark.parametrize("ticket", ["", "x", "ü", "\ud800", "x" * 5000])
def test_what_is_no_ticket_is_refused(tickets: TicketsService, ticket: str) -> None:
    with pytest.raises(UnauthenticatedError):
        tickets.spend(ticket)


def test_a_ticket_older_than_a_minute_is_refused(
    tickets: TicketsService, repository: InMemoryRepository
) -> None:
    ticket = tickets.issue(caller()).ticket
    key = keys.ticket_key(_digest(ticket))
    old = repository.get(Table.CONNECTIONS, key) | {"expires_at": int(time.time())}
    repository.put(Table.CONNECTIONS, old)
    with pytest.raises(UnauthenticatedError):
        tickets.spend(ticket)


def test_the_ticket_itself_is_stored_nowhere(
    tickets: TicketsService, repository: InMemoryRepository
) -> None:
    ticket = tickets.issue(caller()).ticket
    key = keys.ticket_key(_digest(ticket))
    stored = list(
        repository.iterate(Query(table=Table.CONNECTIONS, partition=str(key["channel_id"])))
    )
    assert len(stored) == 1
    assert ticket not in str(stored)
