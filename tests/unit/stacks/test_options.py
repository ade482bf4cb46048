"""What a stage may have and does not by default: a name of its own, a firewall, copies elsewhere."""

import pytest
from tests.unit.stacks.translation import translate
from tools.templates import Template

OPTIONS = {
    "data": {
        "HasBackupCopy": {"BackupVault", "BackupRole", "BackupPlan", "BackupSelection"},
    },
    "websocket": {"HasDomain": {"Domain", "DomainMapping"}},
    "workers": {},
    "rest": {"HasDomain": {"Domain", "DomainMapping"}, "HasWebAcl": {"WebAclAssociation"}},
}


def test_an_option_is_off_unless_its_parameter_is_set(template: Template) -> None:
    options = OPTIONS[template.stack]
    resources = translate(template)["Resources"]
    for condition, expected in options.items():
        found = {name for name, each in resources.items() if each.get("Condition") == condition}
        assert found == expected
        (parameter,) = (
            name
            for name in template.parameters
            if template.body["Conditions"][condition]
            == {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]}
        )
        assert template.parameters[parameter]["Default"] == ""


def test_a_copy_holds_every_table(templates: dict[str, Template]) -> None:
    selection = templates["data"].resources["BackupSelection"]["Properties"]["BackupSelection"]
    tables = templates["data"].of_type("AWS::DynamoDB::Table")
    assert selection["Resources"] == [{"Fn::GetAtt": [name, "Arn"]} for name in tables]


@pytest.mark.parametrize("stack", ["rest", "websocket"])
def test_a_name_of_ones_own_needs_its_certificate(
    templates: dict[str, Template], stack: str
) -> None:
    rule = templates[stack].body["Rules"]["DomainHasCertificate"]
    assert "CertificateArn" in str(rule["Assertions"])


def test_frames_are_posted_to_the_api_itself_whatever_its_name(
    templates: dict[str, Template],
) -> None:
    """The management API has no name of one's own."""
    callback = templates["websocket"].resources["CallbackUrlParameter"]["Properties"]["Value"]
    assert "DomainName" not in str(callback)
