"""Stacks meet only through the SSM parameters of stacks/contract.yaml."""

from typing import Any

import pytest
import yaml
from tools.templates import SSM_PARAMETER_TYPE, STACKS_ROOT, Template


@pytest.fixture
def contract() -> dict[str, dict[str, list[str]]]:
    """Readers by writing stack and name."""
    parsed: dict[str, dict[str, list[str]]] = yaml.safe_load(
        (STACKS_ROOT / "contract.yaml").read_text()
    )
    return parsed


def parameter_name(stack: str, name: str) -> str:
    return "".join(word.capitalize() for word in f"{stack}-{name}".split("-"))


def written(template: Template) -> set[str]:
    return {
        str(resource["Properties"]["Name"]["Fn::Sub"])
        for resource in template.of_type("AWS::SSM::Parameter").values()
    }


def read(template: Template) -> dict[str, dict[str, Any]]:
    return {
        name: parameter
        for name, parameter in template.parameters.items()
        if parameter["Type"].startswith("AWS::SSM")
    }


def test_a_stack_writes_what_the_contract_says_and_nothing_else(
    template: Template, contract: dict[str, dict[str, list[str]]]
) -> None:
    names = contract[template.stack]
    assert written(template) == {f"/chat/${{Stage}}/{template.stack}/{name}" for name in names}


def test_a_stack_reads_what_the_contract_says_and_nothing_else(
    template: Template, contract: dict[str, dict[str, list[str]]]
) -> None:
    expected = {
        parameter_name(stack, name): {
            "Type": SSM_PARAMETER_TYPE,
            "Default": f"/chat/dev/{stack}/{name}",
        }
        for stack, names in contract.items()
        for name, readers in names.items()
        if template.stack in readers
    }
    assert read(template) == expected


def test_a_stack_reads_only_from_those_deployed_before_it(
    contract: dict[str, dict[str, list[str]]], templates: dict[str, Template]
) -> None:
    order = list(templates)
    for writer, names in contract.items():
        for readers in names.values():
            assert all(order.index(reader) > order.index(writer) for reader in readers)


def test_nothing_is_exported_or_imported(template: Template) -> None:
    assert "Fn::ImportValue" not in str(template.body)
    assert all("Export" not in output for output in template.body.get("Outputs", {}).values())


def test_a_parameter_that_is_read_is_used(template: Template) -> None:
    used = str(
        {key: template.body[key] for key in ("Globals", "Resources") if key in template.body}
    )
    for name in read(template):
        assert f"'{name}'" in used or f"${{{name}}}" in used, name
