"""A worker of the agent dies every five seconds while people ask."""

from tests.soak.caller import Caller
from tests.soak.chance import seeded
from tests.soak.channels import new_channel, read_log, wait_until_all_has_ended
from tests.soak.course import judge, people_act_while_workers_die
from tests.soak.figures import Figures
from tests.soak.notes import Notes
from tests.soak.people import Person
from tests.soak.pulse import Pulse
from tests.soak.reaper import Reaper
from tests.soak.storage import repository_of
from tests.soak.verdict import END_SECONDS

from devstack.local_stack import LocalStack

PEOPLE = 2
ASK_SECONDS = (0.5, 2.0)
KILL_SECONDS = (5.0, 5.0)


def soak_agents(stack: LocalStack, *, seconds: float, seed: int) -> list[str]:
    """For so long, and then until everything has ended; answers what was violated."""
    rng = seeded(seed)
    notes, figures = Notes(), Figures()
    reaper = Reaper(
        stack,
        seeded(rng.random()),
        functions=["workers_agent"],
        pause=KILL_SECONDS,
        stops=False,
    )
    pulse = Pulse(repository_of(stack))
    pulse.start()
    outputs = stack.outputs()
    users = stack.users(outputs)
    names = [f"asker-{seed}-{number}" for number in range(PEOPLE)]
    callers = [Caller(outputs, users, name, notes, reaper) for name in names]
    channels = [new_channel(callers[0], name, members=names[1:]) for name in names]
    people = [
        Person(caller, channels, notes, seeded(rng.random()), pause=ASK_SECONDS, only_asks=True)
        for caller in callers
    ]
    people_act_while_workers_die(people, reaper, figures, seconds=seconds)
    wait_until_all_has_ended(callers[0], channels, reaper.last + END_SECONDS)

    logs = {channel: read_log(callers[0], channel) for channel in channels}
    pulse.end()
    judge(stack, logs, notes=notes, reaper=reaper, pulse=pulse, figures=figures)
    for caller in callers:
        caller.close()
    return notes.violations
