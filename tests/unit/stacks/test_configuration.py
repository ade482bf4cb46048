"""Every stage's samconfig is complete, and the root passes on what its children need."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.unit.stacks.translation import translate
from tools.templates import SSM_PARAMETER_TYPE, STACKS, STACKS_ROOT, Template

STAGES = ("dev", "prod")
DIRECTORIES = (STACKS_ROOT, *(STACKS_ROOT / stack for stack in STACKS))
RENAMED = {
    ("rest", "DomainName"): "RestDomainName",
    ("rest", "CertificateArn"): "RestCertificateArn",
    ("websocket", "DomainName"): "WebSocketDomainName",
    ("websocket", "CertificateArn"): "WebSocketCertificateArn",
}
"""What two children have under one name is two settings of the root."""

EMULATOR_ONLY = {
    "CognitoEndpoint",
    "DemoSignInUrl",
    "EmulatorEndpoint",
    "EmulatorRights",
    "RouteResponses",
}


def settings_of(directory: Path) -> dict[str, Any]:
    return tomllib.loads((directory / "samconfig.toml").read_text())


def overrides_of(directory: Path, stage: str) -> dict[str, str]:
    overrides: dict[str, str] = settings_of(directory)[stage]["deploy"]["parameters"][
        "parameter_overrides"
    ]
    return overrides


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_a_stage_sets_every_parameter(directory: Path, stage: str) -> None:
    template = Template.load(directory / "template.yaml")
    assert overrides_of(directory, stage).keys() == template.parameters.keys()


DIFFERENT = {
    "dev": {"ProtectData": "false", "AllowTokenInQuery": "true", "MaximumConcurrency": "100"},
    "prod": {
        "Stage": "prod",
        "MaximumConcurrency": "100",
        "TrafficShift": "Canary10Percent5Minutes",
    },
}
"""What a stage has another value for than the templates' defaults, on purpose."""


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_a_stage_has_the_defaults_but_for_what_is_meant_to_differ(
    directory: Path, stage: str
) -> None:
    template = Template.load(directory / "template.yaml")
    for name, value in overrides_of(directory, stage).items():
        parameter = template.parameters[name]
        if parameter["Type"] != SSM_PARAMETER_TYPE:
            assert value == DIFFERENT[stage].get(name, str(parameter["Default"])), name


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_a_stage_names_nothing_of_another(directory: Path, stage: str) -> None:
    others = [each for each in STAGES if each != stage]
    values = str(settings_of(directory)[stage])
    for other in others:
        assert f"/chat/{other}/" not in values
        assert f"chat-{other}" not in values
        assert f"stage={other}" not in values
    assert overrides_of(directory, stage)["Stage"] == stage


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("stack", STACKS)
def test_a_stage_reads_its_own_parameters(stack: str, stage: str) -> None:
    template = Template.load(STACKS_ROOT / stack / "template.yaml")
    overrides = overrides_of(STACKS_ROOT / stack, stage)
    for name, parameter in template.parameters.items():
        if parameter["Type"] == SSM_PARAMETER_TYPE:
            assert overrides[name] == parameter["Default"].replace("/chat/dev/", f"/chat/{stage}/")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_a_stage_is_built_from_source_and_uploads_to_the_managed_bucket(
    directory: Path, stage: str
) -> None:
    settings = settings_of(directory)[stage]
    assert settings["build"]["parameters"]["build_in_source"] is True
    assert settings["deploy"]["parameters"]["resolve_s3"] is True
    assert "s3_bucket" not in settings["deploy"]["parameters"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "directory", [STACKS_ROOT, STACKS_ROOT / "workers"], ids=["all", "workers"]
)
def test_a_question_waits_about_a_second_for_a_worker_though_all_write_the_longest_replies(
    directory: Path, stage: str
) -> None:
    overrides = overrides_of(directory, stage)
    longest_reply = int(overrides["ModelTotalTimeout"])
    assert longest_reply / int(overrides["MaximumConcurrency"]) <= 1.5


def test_production_keeps_its_data_and_takes_no_token_in_a_url() -> None:
    assert overrides_of(STACKS_ROOT / "data", "prod")["ProtectData"] == "true"
    assert overrides_of(STACKS_ROOT / "websocket", "prod")["AllowTokenInQuery"] == "false"


def test_production_is_not_deployed_unheard(template: Template) -> None:
    rule = template.body["Rules"]["ProductionIsHeard"]
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}
    (assertion,) = rule["Assertions"]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}]}


def test_everything_is_named_after_its_stage(template: Template) -> None:
    naming = {
        "TableName",
        "FunctionName",
        "QueueName",
        "LogGroupName",
        "AlarmName",
        "DashboardName",
        "LayerName",
        "UserPoolName",
    }
    for name, resource in template.resources.items():
        if resource["Type"] == "AWS::Lambda::Permission":
            continue  # names a function of this template
        for key in naming & resource["Properties"].keys():
            assert "${Stage}" in resource["Properties"][key]["Fn::Sub"], (name, key)


class TestRoot:
    @pytest.fixture
    def root(self) -> Template:
        return Template.load(STACKS_ROOT / "template.yaml")

    @pytest.fixture
    def children(self, root: Template) -> dict[str, dict[str, Any]]:
        """The nested applications, by stack."""
        applications = root.of_type("AWS::Serverless::Application").values()
        return {Path(each["Properties"]["Location"]).parent.name: each for each in applications}

    def test_it_nests_the_four(self, children: dict[str, dict[str, Any]]) -> None:
        assert tuple(children) == STACKS

    def test_a_child_gets_names_of_ssm_parameters_never_values(
        self, children: dict[str, dict[str, Any]], templates: dict[str, Template]
    ) -> None:
        for stack, child in children.items():
            passed = child["Properties"]["Parameters"]
            for name, parameter in templates[stack].parameters.items():
                if parameter["Type"] == SSM_PARAMETER_TYPE:
                    expected = parameter["Default"].replace("/chat/dev/", "/chat/${Stage}/")
                    assert passed[name] == {"Fn::Sub": expected}

    def test_a_child_gets_every_setting_but_those_of_the_emulator(
        self, children: dict[str, dict[str, Any]], templates: dict[str, Template]
    ) -> None:
        for stack, child in children.items():
            passed = child["Properties"]["Parameters"].keys()
            assert passed == templates[stack].parameters.keys() - EMULATOR_ONLY

    def test_translated_it_gives_each_child_all_that_the_translated_child_needs(
        self, root: Template, templates: dict[str, Template]
    ) -> None:
        translated = translate(root)["Resources"]
        assert {each["Type"] for each in translated.values()} == {"AWS::CloudFormation::Stack"}
        for stack in translated.values():
            properties = stack["Properties"]
            name = Path(properties["TemplateURL"]).parent.name
            child = translate(templates[name])["Parameters"]
            required = {key for key, each in child.items() if "Default" not in each}
            assert required <= properties["Parameters"].keys() <= child.keys()

    def test_a_child_gets_each_setting_by_its_name(
        self, children: dict[str, dict[str, Any]], templates: dict[str, Template]
    ) -> None:
        for stack, child in children.items():
            for name, value in child["Properties"]["Parameters"].items():
                if templates[stack].parameters[name]["Type"] == "CommaDelimitedList":
                    assert value == {"Fn::Join": [",", {"Ref": name}]}
                elif templates[stack].parameters[name]["Type"] != SSM_PARAMETER_TYPE:
                    assert value == {"Ref": RENAMED.get((stack, name), name)}, (stack, name)

    def test_a_setting_means_the_same_here_as_in_the_child(
        self, root: Template, templates: dict[str, Template]
    ) -> None:
        for template in templates.values():
            for name, parameter in template.parameters.items():
                if name not in EMULATOR_ONLY and parameter["Type"] != SSM_PARAMETER_TYPE:
                    named = RENAMED.get((template.stack, name), name)
                    ours, theirs = dict(root.parameters[named]), dict(parameter)
                    ours.pop("Description")
                    theirs.pop("Description")
                    assert ours == theirs, (template.stack, name)

    def test_a_child_waits_for_those_it_reads_from(
        self, children: dict[str, dict[str, Any]], templates: dict[str, Template], root: Template
    ) -> None:
        logical = {id(each): name for name, each in root.resources.items()}
        for stack, child in children.items():
            read_from = {
                parameter["Default"].split("/")[3]
                for parameter in templates[stack].parameters.values()
                if parameter["Type"] == SSM_PARAMETER_TYPE
            }
            assert set(child.get("DependsOn", [])) == {
                logical[id(children[each])] for each in read_from
            }
