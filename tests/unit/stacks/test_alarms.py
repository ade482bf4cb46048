"""What rings when: alarms whose figures are a choice, and how each rule about alarms is broken."""

import ast
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tools.alarm_rules import FAILURES
from tools.check_templates import violations
from tools.templates import STACKS, STACKS_ROOT, Template

from workers_agent.pace import Pace

from .conftest import template_of

type Properties = dict[str, Any]

CHOSEN = {
    "rest-latency": "Latency p99 > 2000 in 3 of 5 x 60 s",
    "websocket-latency": "IntegrationLatency p99 > 5000 in 3 of 5 x 60 s",
    "workers_delivery-late": "IteratorAge Maximum > 10000 in 3 of 5 x 60 s",
    "workers_agent_dispatcher-late": "IteratorAge Maximum > 10000 in 3 of 5 x 60 s",
    "workers_presence-late": "IteratorAge Maximum > 30000 in 3 of 5 x 60 s",
    "agent-queue-waits": "ApproximateAgeOfOldestMessage Maximum > 420 in 1 of 1 x 60 s",
    "agent-crowded-queue-waits": "ApproximateAgeOfOldestMessage Maximum > 1800 in 1 of 1 x 60 s",
    "agent-failed": "AgentFailed Sum > 10 in 1 of 1 x 300 s",
    "tool-unknown": "ToolUnknown Sum > 0 in 1 of 1 x 60 s",
    "agent-slow": "TimeToFirstDelta p90 > 10000 in 3 of 5 x 60 s",
    "tool-failed": "ToolFailed Sum > 10 in 1 of 1 x 300 s",
    "tool-server-unread": "ToolServerUnread Sum > 2 in 1 of 1 x 900 s",
    "delivery-failed": "DeliveryFailed Sum > 100 in 3 of 3 x 300 s",
}
"""Alarms that ring above a figure. Those that ring at any failure are held by the house rules."""


def described(alarm: Properties) -> str:
    statistic = alarm.get("Statistic") or alarm["ExtendedStatistic"]
    evaluated = alarm["EvaluationPeriods"]
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    return (
        f"{alarm['MetricName']} {statistic} > {alarm['Threshold']} "
        f"in {alarm.get('DatapointsToAlarm', evaluated)} of {evaluated} x {alarm['Period']} s"
    )


def test_an_alarm_above_a_figure_has_the_figure_that_was_chosen() -> None:
    found = {
        alarm["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("chat-${Stage}-"): described(
            alarm["Properties"]
        )
        for stack in STACKS
        for alarm in template_of(stack).alarms.values()
        if (alarm["Properties"]["Namespace"], alarm["Properties"]["MetricName"]) not in FAILURES
    }
    assert found == CHOSEN


def test_no_reply_is_as_old_as_a_question_that_waits(templates: dict[str, Template]) -> None:
    workers = templates["workers"]
    worker = workers.functions["WorkersAgentFunction"]["Properties"]["Timeout"]
    longest_reply = worker - Pace().taking
    assert workers.alarms["AgentQueueAlarm"]["Properties"]["Threshold"] > longest_reply + 60


def set_to(alarm: str, key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(resources: dict[str, Any]) -> None:
        resources[alarm]["Properties"][key] = value

    return change


def take_out(name: str) -> Callable[[dict[str, Any]], None]:
    def change(resources: dict[str, Any]) -> None:
        del resources[name]

    return change


FUNCTION = [{"Name": "FunctionName", "Value": {"Ref": "WorkersPresenceFunction"}}]


@pytest.mark.parametrize(
    ("stack", "change", "complaint"),
    [
        ("workers", take_out("WorkersDeliveryErrorsAlarm"), "nobody hears of errors of"),
        ("workers", take_out("WorkersDeliveryThrottlesAlarm"), "nobody hears of throttles of"),
        ("workers", take_out("WorkersDeliveryLateAlarm"), "reads its stream late"),
        ("workers", take_out("DeliveryParkingQueueAlarm"), "nobody hears of what lies in"),
        ("data", take_out("ChannelsWritesThrottledAlarm"), "throttles writes"),
        ("websocket", take_out("WebsocketSessionUnhandledAlarm"), "faults that"),
        ("rest", take_out("RestApiUnhandledAlarm"), "faults that"),
        ("workers", set_to("AgentDeadLetterQueueAlarm", "AlarmActions", []), "tells nobody"),
        ("workers", set_to("AgentDeadLetterQueueAlarm", "Threshold", 1000), "lets 1000 failures"),
        ("workers", set_to("WorkersAgentErrorsAlarm", "Statistic", "Minimum"), "the Minimum of"),
        ("workers", set_to("WorkersAgentErrorsAlarm", "DatapointsToAlarm", 5), "two bad minutes"),
        (
            "workers",
            set_to("WorkersAgentErrorsAlarm", "ComparisonOperator", "LessThanThreshold"),
            "failures pass",
        ),
        ("workers", set_to("WorkersAgentErrorsAlarm", "MetricName", "Error"), "errors of"),
        ("workers", set_to("WorkersAgentErrorsAlarm", "Dimensions", FUNCTION), "errors of"),
        (
            "workers",
            set_to("WorkersAgentErrorsAlarm", "TreatMissingData", "breaching"),
            "when nothing happens",
        ),
        (
            "workers",
            set_to(
                "WorkersAgentErrorsAlarm",
                "Dimensions",
                [{"Name": "FunctionName", "Value": {"Ref": "AgentQueue"}}],
            ),
            "watches no FunctionName",
        ),
        (
            "rest",
            set_to(
                "ServerErrorsAlarm",
                "Dimensions",
                [
                    {"Name": "ApiName", "Value": {"Fn::Sub": "chat-${Stage}-rest_api"}},
                    {"Name": "Stage", "Value": {"Ref": "Stage"}},
                ],
            ),
            "another API",
        ),
        (
            "workers",
            set_to("AgentFailedAlarm", "MetricName", "AgentsFailed"),
            "does not measure AgentsFailed",
        ),
        (
            "workers",
            set_to("AgentFailedAlarm", "Dimensions", [{"Name": "service", "Value": "rest_api"}]),
            "hears nothing",
        ),
        (
            "websocket",
            set_to(
                "ExecutionErrorsAlarm",
                "Dimensions",
                [
                    {"Name": "ApiId", "Value": {"Ref": "WebSocketApi"}},
                    {"Name": "Stage", "Value": "dev"},
                ],
            ),
            "another stage",
        ),
        ("workers", take_out("Dashboard"), "no dashboard shows"),
    ],
)
def test_a_broken_rule_is_noticed(
    templates: dict[str, Template],
    stack: str,
    change: Callable[[dict[str, Any]], None],
    complaint: str,
) -> None:
    body = copy.deepcopy(dict(templates[stack].body))
    change(body["Resources"])
    assert any(complaint in each for each in violations(Template(stack, body)))


ROOT = STACKS_ROOT.parent
HEARD_ELSEWHERE = {
    "workers_agent/services/batch.py": "the queue tries again, and its dead letters ring",
    "workers_agent/services/deltas.py": "a delta is a hint; the reply comes all the same",
    "commons/realtime/broadcaster.py": "raised again in the caller's thread",
    "workers_tools/conversation.py": "raised again, as its reason, once the session has ended",
}
"""Modules that catch whatever comes, and who hears of it other than by `Unhandled`."""


def catches_unheard(tree: ast.Module) -> bool:
    """Whether some `except Exception` neither raises again nor counts, by itself or by a helper."""
    counting = {"count_unhandled"}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and calls(function) & counting:
            counting.add(function.name)
    return any(
        isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and not any(isinstance(each, ast.Raise) for each in ast.walk(node))
        and not calls(node) & counting
        for node in ast.walk(tree)
    )


def calls(node: ast.AST) -> set[str]:
    return {
        each.func.id
        for each in ast.walk(node)
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)
    }


def test_a_fault_that_is_answered_instead_of_raised_rings() -> None:
    sources: list[Path] = [
        *ROOT.glob("functions/*/src/**/*.py"),
        *ROOT.glob("libs/commons/src/**/*.py"),
    ]
    unheard = {
        source.as_posix().rpartition("/src/")[2]
        for source in sources
        if catches_unheard(ast.parse(source.read_text()))
    }
    assert unheard == HEARD_ELSEWHERE.keys()


def test_the_account_rings_before_its_functions_are_refused() -> None:
    account = template_of("account")
    (alarm,) = (each["Properties"] for each in account.alarms.values())
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "ConcurrentExecutions")
    # Without a dimension it is the account's.
    assert "Dimensions" not in alarm
    assert (alarm["Statistic"], alarm["ComparisonOperator"], alarm["Threshold"]) == (
        "Maximum",
        "GreaterThanThreshold",
        {"Ref": "ConcurrencyAlarmAt"},
    )
