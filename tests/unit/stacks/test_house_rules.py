"""Every template keeps the house's rules, and each rule notices when one is broken."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from tools import alarm_rules, check_templates, meaning_rules
from tools.check_templates import violations
from tools.templates import Template

type Resources = dict[str, Any]


def test_a_template_keeps_the_house_rules(template: Template) -> None:
    assert violations(template) == []


def drop_the_log_group(resources: Resources) -> None:
    del resources["WorkersDeliveryFunction"]["Properties"]["LoggingConfig"]


def keep_logs_for_ever(resources: Resources) -> None:
    del resources["WorkersDeliveryLogGroup"]["Properties"]["RetentionInDays"]


def take_the_role_of_another(resources: Resources) -> None:
    resources["WorkersDeliveryFunction"]["Properties"]["Role"] = {
        "Fn::GetAtt": ["WorkersAgentRole", "Arn"]
    }


def leave_the_role_to_sam(resources: Resources) -> None:
    del resources["WorkersDeliveryFunction"]["Properties"]["Role"]


def grant(action: str, resource: object) -> Callable[[Resources], None]:
    def change(resources: Resources) -> None:
        policy = resources["WorkersAgentRole"]["Properties"]["Policies"][0]
        policy["PolicyDocument"]["Statement"].append(
            {"Effect": "Allow", "Action": action, "Resource": resource}
        )

    return change


def drop(function: str, event: str, setting: str) -> Callable[[Resources], None]:
    def change(resources: Resources) -> None:
        del resources[function]["Properties"]["Events"][event]["Properties"][setting]

    return change


def drop_the_redrive_policy(resources: Resources) -> None:
    del resources["AgentQueue"]["Properties"]["RedrivePolicy"]


def mix_up_dead_letters(resources: Resources) -> None:
    resources["AgentQueue"]["Properties"]["RedrivePolicy"]["deadLetterTargetArn"] = {
        "Fn::GetAtt": ["DeparturesDeadLetterQueue", "Arn"]
    }


def give_up_at_once(resources: Resources) -> None:
    resources["AgentQueue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"] = 1


def drop_what_a_schedule_asked_for(resources: Resources) -> None:
    del resources["WorkersTimerFunction"]["Properties"]["EventInvokeConfig"]


def show_a_message_while_it_is_worked_at(resources: Resources) -> None:
    resources["AgentQueue"]["Properties"]["VisibilityTimeout"] = 30


def drop_resource(name: str) -> Callable[[Resources], None]:
    def change(resources: Resources) -> None:
        del resources[name]

    return change


def take_the_log_right(resources: Resources) -> None:
    policy = resources["WorkersAgentRole"]["Properties"]["Policies"][0]
    del policy["PolicyDocument"]["Statement"][0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (drop_the_log_group, "has no log group of its own"),
        (keep_logs_for_ever, "keeps logs for ever"),
        (take_the_role_of_another, "shares the role"),
        (leave_the_role_to_sam, "has the role that SAM makes"),
        (grant("dynamodb:*", "arn:table"), "may do dynamodb:*"),
        (grant("sqs:SendMessage", "*"), "may do sqs:SendMessage to everything"),
        (
            drop("WorkersDeliveryFunction", "Appended", "DestinationConfig"),
            "drops what its function cannot do",
        ),
        (
            drop("WorkersDeliveryFunction", "Appended", "MaximumRetryAttempts"),
            "has no MaximumRetryAttempts",
        ),
        (drop("WorkersAgentFunction", "Questions", "FunctionResponseTypes"), "as a whole batch"),
        (drop_the_redrive_policy, "has no dead-letter queue"),
        (mix_up_dead_letters, "elsewhere than into AgentDeadLetterQueue"),
        (give_up_at_once, "gives up after 1 tries"),
        (drop_what_a_schedule_asked_for, "drops what a schedule or rule asked of it"),
        (show_a_message_while_it_is_worked_at, "another worker sees it"),
        (take_the_log_right, "may not write its log"),
        (drop_resource("Dashboard"), "0 dashboards"),
    ],
)
def test_a_broken_rule_is_noticed(
    templates: dict[str, Template], change: Callable[[Resources], None], complaint: str
) -> None:
    body = copy.deepcopy(dict(templates["workers"].body))
    change(body["Resources"])
    assert any(complaint in each for each in violations(Template("workers", body)))


def test_an_access_log_that_tells_a_path_is_noticed(templates: dict[str, Template]) -> None:
    body = copy.deepcopy(dict(templates["rest"].body))
    setting = body["Resources"]["RestApi"]["Properties"]["AccessLogSetting"]["Fn::If"][1]
    setting["Format"] = '{"path": "$context.path"}'
    assert any("tells what was asked" in each for each in violations(Template("rest", body)))


def test_an_execution_log_is_noticed(templates: dict[str, Template]) -> None:
    body = copy.deepcopy(dict(templates["websocket"].body))
    settings = body["Resources"]["WebSocketApi"]["Properties"]["DefaultRouteSettings"]
    settings["LoggingLevel"] = "INFO"
    assert any("execution log" in each for each in violations(Template("websocket", body)))


def test_every_rule_is_asked() -> None:
    rules = {
        name
        for module in (check_templates, alarm_rules, meaning_rules)
        for name, value in vars(module).items()
        if callable(value)
        and getattr(value, "__annotations__", {}).keys() == {"template", "return"}
    } - {"violations"}
    assert rules == {rule.__name__ for rule in check_templates.RULES}
