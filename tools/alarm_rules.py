"""House rules: somebody hears of every failure, and every alarm hears what it is named after."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from tools.templates import (
    STACKS_ROOT,
    Resource,
    Template,
    environment_of,
    events,
    member_of,
    reference,
)

ROOT: Final = STACKS_ROOT.parent

FAILURES: Final = {
    ("AWS/Lambda", "Errors"): "Sum",
    ("AWS/Lambda", "Throttles"): "Sum",
    ("AWS/ApiGateway", "5XXError"): "Sum",
    ("AWS/ApiGateway", "ExecutionError"): "Sum",
    ("AWS/DynamoDB", "WriteThrottleEvents"): "Sum",
    ("AWS/DynamoDB", "ReadThrottleEvents"): "Sum",
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): "Maximum",
    ("Chat", "Unhandled"): "Sum",
}
"""Metrics that are 0 where all is well, with the statistic that shows that they are not."""

PATIENCE: Final = 2
"""Bad minutes until an alarm of failures rings."""

_DIMENSION: Final = {
    "FunctionName": "AWS::Serverless::Function",
    "QueueName": "AWS::SQS::Queue",
    "TableName": "AWS::DynamoDB::Table",
    "ApiId": "AWS::Serverless::WebSocketApi",
}


def function_has_an_alarm(template: Template) -> Iterator[str]:
    for metric in ("Errors", "Throttles"):
        for name in template.functions.keys() - _watched(template, "AWS/Lambda", metric):
            yield f"nobody hears of {metric.lower()} of {name}"


def answering_function_has_an_alarm(template: Template) -> Iterator[str]:
    """Lambda does not count a fault that is answered instead of raised."""
    watched = _watched(template, "Chat", "Unhandled")
    for name, function in template.functions.items():
        member = member_of(function)
        if re.search(r"count_unhandled\(|serve_message\(", _source(member)) and (
            member not in watched
        ):
            yield f"nobody hears of the faults that {name} answers"


def stream_reader_has_an_alarm(template: Template) -> Iterator[str]:
    watched = _watched(template, "AWS/Lambda", "IteratorAge")
    readers = {event.split(".")[0] for event, _ in events(template, "DynamoDB")}
    for name in readers - watched:
        yield f"nobody hears when {name} reads its stream late"


def queue_without_consumer_has_an_alarm(template: Template) -> Iterator[str]:
    consumed = {reference(event["Queue"]) for _, event in events(template, "SQS")}
    watched = _watched(template, "AWS/SQS", "ApproximateNumberOfMessagesVisible")
    for queue in template.queues.keys() - consumed - watched:
        yield f"nobody hears of what lies in {queue}"


def table_has_an_alarm(template: Template) -> Iterator[str]:
    watched = _watched(template, "AWS/DynamoDB", "WriteThrottleEvents")
    for table in template.of_type("AWS::DynamoDB::Table").keys() - watched:
        yield f"nobody hears when {table} throttles writes"


def alarm_can_be_heard(template: Template) -> Iterator[str]:
    heard = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in template.alarms.items():
        if alarm["Properties"].get("AlarmActions") != heard:
            yield f"{name} tells nobody"


def alarm_rings_at_the_first_failure(template: Template) -> Iterator[str]:
    for name, alarm in template.alarms.items():
        properties = alarm["Properties"]
        metric = (properties["Namespace"], properties["MetricName"])
        if metric not in FAILURES:
            continue
        if (properties["Threshold"], properties["ComparisonOperator"]) != (
            0,
            "GreaterThanThreshold",
        ):
            yield f"{name} lets {properties['Threshold']} failures pass"
        if properties.get("Statistic") != FAILURES[metric]:
            yield f"{name} looks at the {properties.get('Statistic')} of {metric[1]}"
        if properties.get("DatapointsToAlarm", properties["EvaluationPeriods"]) > PATIENCE:
            yield f"{name} waits for more than two bad minutes"


def alarm_takes_silence_for_good(template: Template) -> Iterator[str]:
    """Nothing counts where nothing happens; a missing point is no failure."""
    for name, alarm in template.alarms.items():
        if alarm["Properties"].get("TreatMissingData") != "notBreaching":
            yield f"{name} rings, or stays, when nothing happens"


def alarm_watches_something_of_its_stack(template: Template) -> Iterator[str]:
    for name, alarm in template.alarms.items():
        properties = alarm["Properties"]
        for dimension in properties["Dimensions"]:
            label, value = dimension["Name"], dimension["Value"]
            if label in _DIMENSION:
                if reference(value) not in template.of_type(_DIMENSION[label]):
                    yield f"{name} watches no {label} of this stack"
            elif label in {"Stage", "stage"}:
                if value != {"Ref": "Stage"}:
                    yield f"{name} watches another stage"
            elif label == "ApiName":
                (api,) = template.of_type("AWS::Serverless::Api").values()
                if value != api["Properties"]["Name"]:
                    yield f"{name} watches another API"
            elif label != "service":
                yield f"{name} watches the dimension {label}, which nothing has"


def alarm_hears_a_metric_that_is_measured(template: Template) -> Iterator[str]:
    """A metric of ours: by a function of this stack, with the dimensions that it is published with."""
    services = {
        str(environment_of(template, function)["POWERTOOLS_SERVICE_NAME"])
        for function in template.functions.values()
    }
    for name, alarm in template.alarms.items():
        properties = alarm["Properties"]
        if properties["Namespace"] != "Chat":
            continue
        dimensions = {each["Name"]: each["Value"] for each in properties["Dimensions"]}
        service = dimensions.get("service")
        if dimensions.keys() != {"service", "stage"} or service not in services:
            yield f"{name} hears nothing: metrics have the dimensions service and stage"
        elif f'name="{properties["MetricName"]}"' not in _source(str(service)) + _source(None):
            yield f"{name} hears nothing: {service} does not measure {properties['MetricName']}"


def dashboard_shows_every_alarm(template: Template) -> Iterator[str]:
    dashboards = template.of_type("AWS::CloudWatch::Dashboard").values()
    shown = {
        name
        for dashboard in dashboards
        for widget in _widgets(dashboard)
        if widget["type"] == "alarm"
        for arn in widget["properties"]["alarms"]
        for name in re.findall(r"\$\{(\w+)\.Arn\}", arn)
    }
    for name in template.alarms.keys() - shown:
        yield f"no dashboard shows {name}"
    for name in shown - template.alarms.keys():
        yield f"a dashboard shows {name}, which there is not"


RULES: Final = (
    function_has_an_alarm,
    answering_function_has_an_alarm,
    stream_reader_has_an_alarm,
    queue_without_consumer_has_an_alarm,
    table_has_an_alarm,
    alarm_can_be_heard,
    alarm_rings_at_the_first_failure,
    alarm_takes_silence_for_good,
    alarm_watches_something_of_its_stack,
    alarm_hears_a_metric_that_is_measured,
    dashboard_shows_every_alarm,
)


def _watched(template: Template, namespace: str, metric: str) -> set[str]:
    """Resources, or services, that an alarm on the metric watches."""
    return {
        str(reference(dimension["Value"]) or dimension["Value"])
        for alarm in template.alarms.values()
        if (alarm["Properties"]["Namespace"], alarm["Properties"]["MetricName"])
        == (namespace, metric)
        for dimension in alarm["Properties"]["Dimensions"]
    }


@cache
def _source(member: str | None) -> str:
    """The code of a function; of commons with None."""
    folder = ROOT / "libs" / "commons" if member is None else ROOT / "functions" / member
    return "\n".join(file.read_text() for file in sorted((folder / "src").rglob("*.py")))


def _widgets(dashboard: Resource) -> list[dict[str, Any]]:
    body = json.loads(dashboard["Properties"]["DashboardBody"]["Fn::Sub"])
    widgets: list[dict[str, Any]] = body["widgets"]
    return widgets
