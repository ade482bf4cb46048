"""What writes about an open reply are conditional on: that it is still held, wanted and asked for."""

from typing import Final

from commons import keys
from commons.dal import (
    Compare,
    Condition,
    ConditionCheck,
    Exists,
    NotExists,
    Table,
    Write,
    all_of,
    any_of,
)
from commons.ids import AGENT_ID, SYSTEM_ID
from commons.records.generation import OpenGeneration
from commons.schemas.event import Sender

AGENT: Final = Sender(id=AGENT_ID, kind="agent")
SYSTEM: Final = Sender(id=SYSTEM_ID, kind="system")


class GenerationLostError(Exception):
    """Another worker has taken the reply over, or has ended it."""


def fenced(row: OpenGeneration) -> Condition:
    """Nobody has claimed, given back or ended the reply since `row` was read."""
    return all_of(Compare("fence", "=", row.fence), Compare("status", "=", row.status))


def held(row: OpenGeneration) -> Condition:
    """As `fenced`, and the reply has not gone on."""
    steps: Condition = (
        Compare("step_count", "=", row.step_count) if row.step_count else NotExists("step_count")
    )
    return all_of(fenced(row), steps)


def still_held(row: OpenGeneration, *further: Condition) -> Write:
    return ConditionCheck(Table.CHANNELS, row.key, all_of(held(row), *further))


def undeleted(row: OpenGeneration) -> Write:
    """The question is there."""
    return ConditionCheck(
        Table.CHAT_EVENTS,
        keys.event_key(row.channel_id, row.question_seq),
        all_of(Exists("channel_id"), NotExists("redacted")),
    )


def uncancelled(row: OpenGeneration) -> Write:
    """No cancel of everything in the channel that the reply is subject to."""
    return ConditionCheck(
        Table.CHANNELS,
        keys.cancel_key(row.channel_id),
        any_of(
            NotExists("through_seq"),
            Compare("through_seq", "<", row.question_seq),
            Compare("cancels", "<=", row.cancels_seen),
        ),
    )
