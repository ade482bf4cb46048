"""House rules: what a function is given, and what a stack publishes, is what its name says."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tools.templates import Resource, Template, environment_of, member_of, reference

_OWN_API_URL: Final = "WEBSOCKET_CALLBACK_URL"

_TELLING: Final = {"POWERTOOLS_METRICS_NAMESPACE", "POWERTOOLS_SERVICE_NAME"}
"""Plain texts; tests/unit/stacks/test_environments.py holds them."""

_EVERYWHERE: Final[Mapping[str, object]] = {
    "STAGE": {"Ref": "Stage"},
    "POWERTOOLS_LOG_LEVEL": {"Ref": "LogLevel"},
    "POWERTOOLS_TRACE_DISABLED": {"Fn::If": ["IsTraced", "false", "true"]},
}

_SPECIAL: Final[Mapping[str, object]] = {
    "layer-arn": {"Ref": "CommonsLayer"},
    # The attribute is the ARN on AWS and on the emulator; a Ref is so on AWS only.
    "cursor-secret-arn": {"Fn::GetAtt": ["CursorSecret", "Id"]},
    "sign-in-url": {
        "Fn::If": [
            "HasHostedSignIn",
            {"Fn::Sub": "https://${UserPoolDomain}.auth.${AWS::Region}.amazoncognito.com"},
            "none",
        ]
    },
}

_PUBLISHED: Final = re.compile(r"/chat/\$\{Stage\}/(?P<stack>\w+)/(?P<name>[a-z-]+)\Z")


def variable_means_its_name(template: Template) -> Iterator[str]:
    """`CHANNEL_TOKENS_PER_DAY` is the parameter `ChannelTokensPerDay`, and so on."""
    for name, function in template.functions.items():
        for variable, value in environment_of(template, function).items():
            expected = _expected_values(template, function, variable)
            if variable not in _TELLING and value not in expected:
                yield f"{name} gets as {variable}: {value}"


def stack_publishes_what_a_name_says(template: Template) -> Iterator[str]:
    for logical_id, resource in template.of_type("AWS::SSM::Parameter").items():
        published = _PUBLISHED.match(resource["Properties"]["Name"]["Fn::Sub"])
        if published is None or published["stack"] != template.stack:
            yield f"{logical_id} is not published as a name of this stack"
            continue
        name, value = published["name"], resource["Properties"]["Value"]
        if logical_id != f"{_camel(name)}Parameter":
            yield f"{logical_id} publishes {name}"
        if not _means(template, name, value):
            yield f"{name} is {value}"


RULES: Final = (variable_means_its_name, stack_publishes_what_a_name_says)


def _expected_values(template: Template, function: Resource, variable: str) -> list[object]:
    if variable in _EVERYWHERE:
        return [_EVERYWHERE[variable]]
    if variable == _OWN_API_URL and template.of_type("AWS::Serverless::WebSocketApi"):
        return [template.resources["CallbackUrlParameter"]["Properties"]["Value"]]
    camel = _camel(variable.lower().replace("_", "-"))
    if variable.endswith("_TABLE"):
        return [{"Ref": f"Data{camel}Name"}]
    if variable.endswith("_QUEUE_URL"):
        queue = camel.removesuffix("Url")
        whose = _camel(member_of(function).rpartition("_")[2])
        own = f"{whose}{queue}"
        return [{"Ref": own if own in template.queues else queue}]
    if variable.endswith("_FUNCTION"):
        return [{"Ref": f"{_camel(template.stack)}{camel}"}]
    return [
        {"Ref": parameter}
        for prefix in ("", "Data", "Websocket", "Workers")
        if (parameter := f"{prefix}{camel}") in template.parameters
    ]


def _means(template: Template, name: str, value: object) -> bool:
    if name in _SPECIAL:
        return value == _SPECIAL[name]
    if name == "api-id":
        return reference(value) in {
            *template.of_type("AWS::Serverless::Api"),
            *template.of_type("AWS::Serverless::WebSocketApi"),
        }
    if name.startswith("jwt-"):
        return {"Ref": _camel(name)} in list(_leaves(value))
    if name.endswith("url") and "queue" not in name:
        return _is_url(template, name, value)
    for suffix, attribute in (
        ("-table-name", None),
        ("-table-arn", "Arn"),
        ("-stream-arn", "StreamArn"),
        ("-queue-url", None),
        ("-queue-arn", "Arn"),
    ):
        if name.endswith(suffix):
            kind = "Queue" if "queue" in suffix else "Table"
            resource = _camel(name.removesuffix(suffix)) + kind
            expected = {"Ref": resource} if attribute is None else _get(resource, attribute)
            return resource in template.resources and value == expected
    return value == {"Ref": _camel(name)}


def _is_url(template: Template, name: str, value: object) -> bool:
    """Of this stack's API: the emulator's address, else AWS's, both with the scheme of its kind."""
    is_socket = bool(template.of_type("AWS::Serverless::WebSocketApi")) and name == "url"
    scheme = "ws" if is_socket else "http"
    (api,) = {
        *template.of_type("AWS::Serverless::Api"),
        *template.of_type("AWS::Serverless::WebSocketApi"),
    }
    emulated = f"{scheme}://${{EmulatorEndpoint}}/${{{api}}}/${{Stage}}"
    real = f"{scheme}s://${{{api}}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}/${{Stage}}"
    on_aws: object = {"Fn::Sub": real}
    if name == "url":
        on_aws = {"Fn::If": ["HasDomain", {"Fn::Sub": f"{scheme}s://${{DomainName}}"}, on_aws]}
    return value == {"Fn::If": ["IsEmulated", {"Fn::Sub": emulated}, on_aws]}


def _get(resource: str, attribute: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [resource, attribute]}


def _leaves(value: Any) -> Iterator[object]:
    if isinstance(value, dict) and "Ref" in value:
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))
