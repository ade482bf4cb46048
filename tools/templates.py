"""The stacks' templates as their authors wrote them, and what several rules ask of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # no stubs

STACKS_ROOT: Final = Path(__file__).parent.parent / "stacks"
STACKS: Final = ("data", "websocket", "workers", "rest")
SSM_PARAMETER_TYPE: Final = "AWS::SSM::Parameter::Value<String>"

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


def name_of(function: Resource) -> str:
    """What the function is called in each stage; the member's name, unless that is deployed twice."""
    name: str = function["Properties"]["FunctionName"]["Fn::Sub"]
    return name.removeprefix("chat-${Stage}-")


def environment_of(template: Template, function: Resource) -> dict[str, object]:
    """The function's variables, those of Globals included."""
    everywhere = template.body["Globals"]["Function"]["Environment"]["Variables"]
    own = function["Properties"].get("Environment", {}).get("Variables", {})
    return {**everywhere, **own}


def events(template: Template, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, function in template.functions.items():
        for label, event in function["Properties"].get("Events", {}).items():
            if event["Type"] == kind:
                yield f"{name}.{label}", event["Properties"]


def statements(role: Resource) -> Iterator[dict[str, Any]]:
    for policy in role["Properties"].get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            branches = statement["Fn::If"][1:] if "Fn::If" in statement else [statement]
            yield from (branch for branch in branches if "Effect" in branch)


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def reference(value: object) -> str | None:
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
