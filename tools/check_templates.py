"""The house's rules for stack templates, which cfn-lint does not know.

`python tools/check_templates.py` prints what breaks them.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # no stubs

STACKS_ROOT: Final = Path(__file__).parent.parent / "stacks"
STACKS: Final = ("data", "websocket", "workers", "rest")
SSM_PARAMETER_TYPE: Final = "AWS::SSM::Parameter::Value<String>"

ACTIONS_WITHOUT_RESOURCES: Final = frozenset({"xray:PutTraceSegments", "xray:PutTelemetryRecords"})
"""IAM knows no resource for these."""

type Resource = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """A stack's template as its author wrote it, every function in its long form."""

    stack: str
    body: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> "Template":
        return cls(stack=path.parent.name, body=yaml_parse(path.read_text()))

    @cached_property
    def parameters(self) -> dict[str, dict[str, Any]]:
        return dict(self.body.get("Parameters", {}))

    @cached_property
    def resources(self) -> dict[str, Resource]:
        return dict(self.body["Resources"])

    def of_type(self, resource_type: str) -> dict[str, Resource]:
        return {
            name: resource
            for name, resource in self.resources.items()
            if resource["Type"] == resource_type
        }

    @property
    def functions(self) -> dict[str, Resource]:
        return self.of_type("AWS::Serverless::Function")

    @property
    def queues(self) -> dict[str, Resource]:
        return self.of_type("AWS::SQS::Queue")

    @property
    def alarms(self) -> dict[str, Resource]:
        return self.of_type("AWS::CloudWatch::Alarm")


def member_of(function: Resource) -> str:
    """The workspace member that the function is made from."""
    return Path(str(function["Properties"]["CodeUri"])).name


def environment_of(template: Template, function: Resource) -> dict[str, object]:
    """The function's variables, those of Globals included."""
    everywhere = template.body["Globals"]["Function"]["Environment"]["Variables"]
    own = function["Properties"].get("Environment", {}).get("Variables", {})
    return {**everywhere, **own}


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
        if named != f"/aws/lambda/chat-${{Stage}}-{member_of(function)}":
            yield f"{name} logs to {named}"


def log_group_has_a_retention(template: Template) -> Iterator[str]:
    for name, group in template.of_type("AWS::Logs::LogGroup").items():
        if "RetentionInDays" not in group["Properties"]:
            yield f"{name} keeps logs for ever"


def function_has_its_own_role(template: Template) -> Iterator[str]:
    roles = [_reference(each["Properties"].get("Role")) for each in template.functions.values()]
    for name, role in zip(template.functions, roles, strict=True):
        if role is None:
            yield f"{name} has the role that SAM makes, which may log anywhere"
        elif roles.count(role) > 1:
            yield f"{name} shares the role {role}"


def right_names_actions_and_resources(template: Template) -> Iterator[str]:
    for name, role in template.of_type("AWS::IAM::Role").items():
        for statement in _statements(role):
            actions = _listed(statement["Action"])
            for action in actions:
                if "*" in str(action):
                    yield f"{name} may do {action}"
            if "*" in _listed(statement["Resource"]) and not (
                set(actions) <= ACTIONS_WITHOUT_RESOURCES
            ):
                yield f"{name} may do {', '.join(actions)} to everything"


def stream_failure_has_a_destination(template: Template) -> Iterator[str]:
    for name, event in _events(template, "DynamoDB"):
        destination = event.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if _reference(destination) not in template.queues:
            yield f"{name} drops what its function cannot do"


def stream_retries_end(template: Template) -> Iterator[str]:
    needed = {"MaximumRetryAttempts", "MaximumRecordAgeInSeconds", "BisectBatchOnFunctionError"}
    for name, event in _events(template, "DynamoDB"):
        for missing in sorted(needed - event.keys()):
            yield f"{name} has no {missing}: one record stops its shard for a day"


def queue_source_has_dead_letters(template: Template) -> Iterator[str]:
    for name, event in _events(template, "SQS"):
        queue = _reference(event["Queue"])
        properties = template.queues[queue]["Properties"] if queue in template.queues else {}
        if "RedrivePolicy" not in properties:
            yield f"{name} tries for ever, its queue has no dead-letter queue"


def source_reports_single_failures(template: Template) -> Iterator[str]:
    for kind in ("DynamoDB", "SQS"):
        for name, event in _events(template, kind):
            if event.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
                yield f"{name} fails as a whole batch"


def queue_outlives_its_function(template: Template) -> Iterator[str]:
    for name, function in template.functions.items():
        for event in function["Properties"].get("Events", {}).values():
            if event["Type"] != "SQS":
                continue
            queue = template.queues[str(_reference(event["Properties"]["Queue"]))]
            if queue["Properties"]["VisibilityTimeout"] < function["Properties"]["Timeout"]:
                yield f"{name} is still at a message when another worker sees it"


def queue_without_consumer_has_an_alarm(template: Template) -> Iterator[str]:
    consumed = {_reference(event["Queue"]) for _, event in _events(template, "SQS")}
    watched = {
        _reference(dimension["Value"])
        for alarm in template.alarms.values()
        if alarm["Properties"]["MetricName"] == "ApproximateNumberOfMessagesVisible"
        for dimension in alarm["Properties"]["Dimensions"]
    }
    for queue in template.queues.keys() - consumed - watched:
        yield f"nobody hears of what lies in {queue}"


def function_has_an_alarm(template: Template) -> Iterator[str]:
    watched = {
        _reference(dimension["Value"])
        for alarm in template.alarms.values()
        if alarm["Properties"]["MetricName"] == "Errors"
        for dimension in alarm["Properties"]["Dimensions"]
    }
    for name in template.functions.keys() - watched:
        yield f"nobody hears of errors of {name}"


def alarm_can_be_heard(template: Template) -> Iterator[str]:
    for name, alarm in template.alarms.items():
        if "AlarmActions" not in alarm["Properties"]:
            yield f"{name} tells nobody"


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
    stream_failure_has_a_destination,
    stream_retries_end,
    queue_source_has_dead_letters,
    source_reports_single_failures,
    queue_outlives_its_function,
    queue_without_consumer_has_an_alarm,
    function_has_an_alarm,
    alarm_can_be_heard,
    stack_has_one_dashboard,
    access_log_holds_no_query_string,
    execution_log_is_off,
)


def _events(template: Template, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, function in template.functions.items():
        for label, event in function["Properties"].get("Events", {}).items():
            if event["Type"] == kind:
                yield f"{name}.{label}", event["Properties"]


def _statements(role: Resource) -> Iterator[dict[str, Any]]:
    for policy in role["Properties"].get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            branches = statement["Fn::If"][1:] if "Fn::If" in statement else [statement]
            yield from (branch for branch in branches if "Effect" in branch)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _reference(value: object) -> str | None:
    """The logical id that a Ref or a GetAtt points at."""
    match value:
        case {"Ref": str(name)}:
            return name
        case {"Fn::GetAtt": [str(name), *_]}:
            return name
        case {"Fn::GetAtt": str(path)}:
            return path.split(".")[0]
        case _:
            return None


def main() -> int:
    paths = [STACKS_ROOT / stack / "template.yaml" for stack in STACKS]
    found = [violation for path in paths for violation in violations(Template.load(path))]
    sys.stdout.writelines(f"{violation}\n" for violation in found)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
