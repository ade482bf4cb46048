"""A template as CloudFormation gets it from SAM."""

import copy
from typing import Any

from samtranslator.translator.transform import transform  # type: ignore[import-untyped]  # no stubs
from tools.templates import Template


class NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def translate(template: Template, **given: str) -> dict[str, Any]:
    """The template without SAM's resources, its code in a bucket as `sam deploy` leaves it.

    Args:
        template: a stack's.
        given: parameters with other values than their defaults.
    """
    body = copy.deepcopy(dict(template.body))
    values = {name: each.get("Default", "") for name, each in template.parameters.items()} | given
    for resource in body["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            resource["Properties"]["ContentUri"] = "s3://bucket/key"
    translated: dict[str, Any] = transform(body, values, NoManagedPolicies())
    return translated


def live(function: str) -> dict[str, Any]:
    """What an API calls: the alias of a function; on the emulator the function itself."""
    return {
        "Fn::If": [
            "IsEmulated",
            {"Fn::GetAtt": [function, "Arn"]},
            {"Ref": f"{function}Aliaslive"},
        ]
    }
