"""The house's rules for stack templates, which cfn-lint does not know.

`python -m tools.check_templates` prints what breaks them.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Final

from tools import alarm_rules, meaning_rules
from tools.templates import (
    STACKS,
    STACKS_ROOT,
    Template,
    events,
    listed,
    name_of,
    reference,
    statements,
)

ACTIONS_WITHOUT_RESOURCES: Final = frozenset({"xray:PutTraceSegments", "xray:PutTelemetryRecords"})
"""IAM knows no resource for these."""

ASYNCHRONOUS: Final = {"CloudWatchEvent", "EventBridgeRule", "S3", "SNS", "Schedule", "ScheduleV2"}
"""Sources that nobody waits for and that keep nothing."""

LEAST_TRIES: Final = 5
"""AWS's advice for a queue that feeds a function: a throttled poller counts as a try."""

LOG_ACTIONS: Final = {"logs:CreateLogStream", "logs:PutLogEvents"}


def violations(template: Template) -> list[str]:
    """What of the template breaks a rule; empty where all is well."""
    found = (f"{template.stack}: {violation}" for rule in RULES for violation in rule(template))
    return list(found)


def function_has_its_own_log_group(template: Template) -> Iterator[str]:
    groups = template.of_type("AWS::Logs::LogGroup")
    for name, function in template.functions.items():
        group = function["Properties"].get("LoggingConfig", {}).get("LogGroup", {}).get("Ref")
        if group not in groups:
            yield f"{name} has no log group of its own"
            continue
        named = groups[group]["Properties"]["LogGroupName"]["Fn::Sub"]
        if named != f"/aws/lambda/chat-${{Stage}}-{name_of(function)}":
            yield f"{name} logs to {named}"


def log_group_has_a_retention(template: Template) -> Iterator[str]:
    for name, group in template.of_type("AWS::Logs::LogGroup").items():
        if "RetentionInDays" not in group["Properties"]:
            yield f"{name} keeps logs for ever"


def function_has_its_own_role(template: Template) -> Iterator[str]:
    roles = [reference(each["Properties"].get("Role")) for each in template.functions.values()]
    for name, role in zip(template.functions, roles, strict=True):
        if role is None:
            yield f"{name} has the role that SAM makes, which may log anywhere"
        elif roles.count(role) > 1:
            yield f"{name} shares the role {role}"


def right_names_actions_and_resources(template: Template) -> Iterator[str]:
    for name, role in template.of_type("AWS::IAM::Role").items():
        for statement in statements(role):
            actions = listed(statement["Action"])
            for action in actions:
                if "*" in str(action):
                    yield f"{name} may do {action}"
            if "*" in listed(statement["Resource"]) and not (
                set(actions) <= ACTIONS_WITHOUT_RESOURCES
            ):
                yield f"{name} may do {', '.join(actions)} to everything"


def role_may_write_its_own_log_and_traces(template: Template) -> Iterator[str]:
    for name, function in template.functions.items():
        role = template.resources.get(str(reference(function["Properties"].get("Role"))), {})
        if not role:
            continue
        group = function["Properties"].get("LoggingConfig", {}).get("LogGroup", {}).get("Ref")
        granted = [(set(listed(each["Action"])), each["Resource"]) for each in statements(role)]
        if (LOG_ACTIONS, {"Fn::GetAtt": [group, "Arn"]}) not in granted:
            yield f"{name} may not write its log"
        if (set(ACTIONS_WITHOUT_RESOURCES), "*") not in granted:
            yield f"{name} may not send traces"


def stream_failure_has_a_destination(template: Template) -> Iterator[str]:
    for name, event in events(template, "DynamoDB"):
        destination = event.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if reference(destination) not in template.queues:
            yield f"{name} drops what its function cannot do"


def stream_retries_end(template: Template) -> Iterator[str]:
    needed = {"MaximumRetryAttempts", "MaximumRecordAgeInSeconds", "BisectBatchOnFunctionError"}
    for name, event in events(template, "DynamoDB"):
        for missing in sorted(needed - event.keys()):
            yield f"{name} has no {missing}: one record stops its shard for a day"


def queue_source_has_dead_letters(template: Template) -> Iterator[str]:
    for name, event in events(template, "SQS"):
        queue = reference(event["Queue"])
        properties = template.queues[queue]["Properties"] if queue in template.queues else {}
        if "RedrivePolicy" not in properties:
            yield f"{name} tries for ever, its queue has no dead-letter queue"


def dead_letters_are_the_queues_own(template: Template) -> Iterator[str]:
    """By where a message lies one knows who has to do it again."""
    for name, queue in template.queues.items():
        policy = queue["Properties"].get("RedrivePolicy")
        if policy is None:
            continue
        own = f"{name.removesuffix('Queue')}DeadLetterQueue"
        if reference(policy["deadLetterTargetArn"]) != own:
            yield f"{name} puts its dead letters elsewhere than into {own}"
        if policy["maxReceiveCount"] < LEAST_TRIES:
            yield f"{name} gives up after {policy['maxReceiveCount']} tries, throttled ones included"


def asynchronous_call_has_a_destination(template: Template) -> Iterator[str]:
    """Lambda drops what it could not do for a rule, a schedule or a topic."""
    for name, function in template.functions.items():
        kinds = {each["Type"] for each in function["Properties"].get("Events", {}).values()}
        if not kinds & ASYNCHRONOUS:
            continue
        config = function["Properties"].get("EventInvokeConfig", {})
        destination = config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if reference(destination) not in template.queues:
            yield f"{name} drops what a schedule or rule asked of it and it could not do"


def source_reports_single_failures(template: Template) -> Iterator[str]:
    for kind in ("DynamoDB", "SQS"):
        for name, event in events(template, kind):
            if event.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
                yield f"{name} fails as a whole batch"


def queue_outlives_its_function(template: Template) -> Iterator[str]:
    for name, function in template.functions.items():
        for event in function["Properties"].get("Events", {}).values():
            if event["Type"] != "SQS":
                continue
            queue = template.queues[str(reference(event["Properties"]["Queue"]))]
            if queue["Properties"]["VisibilityTimeout"] < function["Properties"]["Timeout"]:
                yield f"{name} is still at a message when another worker sees it"


def stack_has_one_dashboard(template: Template) -> Iterator[str]:
    count = len(template.of_type("AWS::CloudWatch::Dashboard"))
    if count != 1:
        yield f"{count} dashboards"


def access_log_holds_no_query_string(template: Template) -> Iterator[str]:
    """Tickets and tokens stand in them, ids of users and channels in paths."""
    told = re.compile(r"querystring|\$context\.path\b|requestOverride|protocol", re.IGNORECASE)
    for name, resource in template.resources.items():
        for setting in ("AccessLogSetting", "AccessLogSettings"):
            if told.search(json.dumps(resource["Properties"].get(setting, {}))):
                yield f"the access log of {name} tells what was asked"


def execution_log_is_off(template: Template) -> Iterator[str]:
    for name, resource in template.resources.items():
        properties = resource["Properties"]
        for settings in [
            properties.get("DefaultRouteSettings"),
            *properties.get("MethodSettings", []),
        ]:
            if settings and (settings["DataTraceEnabled"] or settings["LoggingLevel"] != "OFF"):
                yield f"the execution log of {name} would hold message texts and tokens"


RULES: Final = (
    function_has_its_own_log_group,
    log_group_has_a_retention,
    function_has_its_own_role,
    right_names_actions_and_resources,
    role_may_write_its_own_log_and_traces,
    stream_failure_has_a_destination,
    stream_retries_end,
    queue_source_has_dead_letters,
    dead_letters_are_the_queues_own,
    asynchronous_call_has_a_destination,
    source_reports_single_failures,
    queue_outlives_its_function,
    stack_has_one_dashboard,
    access_log_holds_no_query_string,
    execution_log_is_off,
    *alarm_rules.RULES,
    *meaning_rules.RULES,
)


def main() -> int:
    paths = [STACKS_ROOT / stack / "template.yaml" for stack in STACKS]
    found = [violation for path in paths for violation in violations(Template.load(path))]
    sys.stdout.writelines(f"{violation}\n" for violation in found)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
