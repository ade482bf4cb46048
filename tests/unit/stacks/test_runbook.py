"""Whoever is woken up finds the alarm in the runbook; the runbook names no alarm that there is not."""

import re

from tools.templates import STACKS, STACKS_ROOT

from devstack.redrive import QUEUES

from .conftest import template_of

ROOT = STACKS_ROOT.parent
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()


def alarms() -> set[str]:
    return {
        alarm["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("chat-${Stage}-")
        for stack in STACKS
        for alarm in template_of(stack).alarms.values()
    } | {alarm["Properties"]["AlarmName"] for alarm in template_of("account").alarms.values()}


def entries() -> list[str]:
    """Names in the first column of the tables of alarms."""
    rows = re.findall(r"^\| (`[^|]*) \|", RUNBOOK, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]


def test_every_alarm_has_its_entry_and_only_one() -> None:
    assert sorted(entries()) == sorted(
        alarms()
    ), "an alarm without an entry, or the other way round"


def test_every_dashboard_is_named() -> None:
    for stack in STACKS:
        assert f"-{stack}`" in RUNBOOK, stack


def test_every_queue_that_can_be_put_back_to_work_says_so() -> None:
    for queue in set(QUEUES) - {"presence-failures"}:
        row = next(line for line in RUNBOOK.splitlines() if line.startswith(f"| `{queue}`"))
        assert "redrive" in row, queue


def test_a_stacks_readme_leads_to_the_runbook() -> None:
    for stack in STACKS:
        assert "docs/runbook.md" in (STACKS_ROOT / stack / "README.md").read_text(), stack


def test_a_query_asks_for_lines_that_are_logged() -> None:
    sources = [*ROOT.glob("functions/*/src/**/*.py"), *ROOT.glob("libs/commons/src/**/*.py")]
    code = "\n".join(source.read_text() for source in sources)
    messages = re.findall(r'message = "([^"]+)"', RUNBOOK)
    assert messages
    for message in messages:
        assert f'"{message}"' in code, message


def test_lines_that_an_entry_names_are_logged() -> None:
    sources = [*ROOT.glob("functions/*/src/**/*.py"), *ROOT.glob("libs/commons/src/**/*.py")]
    code = "\n".join(source.read_text() for source in sources)
    for message in ("unforeseen exception", "frame failed", "handshake failed"):
        assert f"`{message}`" in RUNBOOK
        assert f'"{message}"' in code, message
