"""Workers of all functions die and stall while people talk: what was promised still holds."""

import time

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

PEOPLE = 4
PAUSE_SECONDS = (0.2, 1.0)
"""Some six deeds a second: two cores do that while workers start anew."""

CHANNELS = 4
LIVE_MARK = "\N{WHITE HEAVY CHECK MARK}"


def soak_workers(stack: LocalStack, *, seconds: float, seed: int) -> list[str]:
    """Runs for so long, and then until everything has ended; answers what was violated."""
    rng = seeded(seed)
    notes, figures = Notes(), Figures()
    reaper = Reaper(stack, seeded(rng.random()))
    outputs = stack.outputs()
    users = stack.users(outputs)
    names = [f"soak-{seed}-{number}" for number in range(PEOPLE)]
    callers = [Caller(outputs, users, name, notes, reaper) for name in names]
    channels = [
        new_channel(callers[0], f"soak {number}", members=names[1:]) for number in range(CHANNELS)
    ]
    people = [
        Person(caller, channels, notes, seeded(rng.random()), pause=PAUSE_SECONDS)
        for caller in callers
    ]
    pulse = Pulse(repository_of(stack))
    pulse.start()
    people_act_while_workers_die(people, reaper, figures, seconds=seconds)

    owner = callers[0]
    wait_until_all_has_ended(owner, channels, reaper.last + END_SECONDS)
    _touch(owner, channels)
    _wait_until_heard(owner, channels, people, reaper.last + END_SECONDS)
    logs = {channel: read_log(owner, channel) for channel in channels}
    pulse.end()
    figures.add("reads that took long, of all", f"{pulse.slow_count} of {pulse.count}")
    judge(stack, logs, notes=notes, reaper=reaper, pulse=pulse, figures=figures)
    for socket in [socket for person in people for socket in person.sockets]:
        socket.hang_up()
    for caller in callers:
        caller.close()
    return notes.violations


def _touch(owner: Caller, channels: list[str]) -> None:
    """An event that no agent answers, for every line that is still open."""
    for channel in channels:
        owner.call("PUT", f"/channels/{channel}/messages/1/reactions/{LIVE_MARK}", 204)


def _wait_until_heard(
    owner: Caller, channels: list[str], people: list[Person], deadline: float
) -> None:
    """What has not come by then is told by the verdict."""
    heads = {
        channel: owner.call("GET", f"/channels/{channel}", 200)[0].json()["lastSeq"]
        for channel in channels
    }
    lines = [socket for person in people for socket in person.sockets]
    while time.time() < deadline:
        if all(
            head in socket.first_seen[channel]
            for socket in lines
            for channel, head in heads.items()
            if channel in socket.first_seen
        ):
            return
        time.sleep(0.2)
