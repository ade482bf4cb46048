"""What every soak of people and workers does: hardship for a while, and the judgement afterwards."""

import time
from collections.abc import Sequence

from tests.soak.figures import Figures
from tests.soak.notes import Notes
from tests.soak.parked import judge_parked
from tests.soak.payments import judge_payments
from tests.soak.people import Person
from tests.soak.pulse import Pulse
from tests.soak.reaper import Reaper
from tests.soak.verdict import Logs, Verdict

from devstack.local_stack import LocalStack


def people_act_while_workers_die(
    people: Sequence[Person], reaper: Reaper, figures: Figures, *, seconds: float
) -> None:
    for person in people:
        person.start()
    reaper.start()
    time.sleep(seconds)
    reaper.end()
    for person in people:
        person.end()
    figures.add("workers hit", f"{len(reaper.hits)}: {reaper.summary()}")


def judge(
    stack: LocalStack,
    logs: Logs,
    *,
    notes: Notes,
    reaper: Reaper,
    pulse: Pulse,
    figures: Figures,
) -> None:
    """Notes what was violated, and adds the figures."""
    verdict = Verdict(notes, logs, reaper, pulse, figures)
    verdict.judge()
    judge_payments(stack, notes, verdict.ends, figures)
    judge_parked(stack, notes, figures)
    figures.add_counts(notes)
