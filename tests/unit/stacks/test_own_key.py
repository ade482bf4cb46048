"""A key of one's own encrypts all that is stored, and nothing where none is named."""

from typing import Any

import pytest
from tests.unit.stacks.translation import translate
from tools.templates import STACKS_ROOT, Template

KEY = {"Fn::If": ["HasKey", {"Ref": "KeyArn"}, {"Ref": "AWS::NoValue"}]}
STORES = {
    "AWS::DynamoDB::Table": ("SSESpecification", "KMSMasterKeyId"),
    "AWS::SQS::Queue": ("KmsMasterKeyId",),
    "AWS::Logs::LogGroup": ("KmsKeyId",),
    "AWS::SecretsManager::Secret": ("KmsKeyId",),
}
"""What keeps something, with the way to its key. Parameters in SSM hold names, no secrets."""

ASKED_BY_ROLES = ("dynamodb", "sqs", "sns", "secretsmanager")


@pytest.fixture
def account() -> Template:
    return Template.load(STACKS_ROOT / "account" / "template.yaml")


@pytest.fixture
def statements(account: Template) -> dict[str, dict[str, Any]]:
    """Of the key's policy, by their names."""
    policy = account.resources["Key"]["Properties"]["KeyPolicy"]
    return {each["Sid"]: each for each in policy["Statement"]}


def key_of(resource: dict[str, Any]) -> object:
    value: Any = resource["Properties"]
    for step in STORES[resource["Type"]]:
        value = value.get(step, {})
    return value


def test_all_that_is_stored_takes_the_key(template: Template) -> None:
    resources = translate(template, KeyArn="arn:aws:kms:eu-central-1:123456789012:key/own")
    for name, each in resources["Resources"].items():
        if each["Type"] in STORES:
            assert key_of(each) == KEY, name


def test_without_a_key_everything_is_encrypted_with_one_of_awss(template: Template) -> None:
    assert template.parameters["KeyArn"]["Default"] == ""
    assert template.body["Conditions"]["HasKey"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "KeyArn"}, ""]}]
    }
    for queue in template.queues.values():
        # SQS takes one of the two.
        assert queue["Properties"]["SqsManagedSseEnabled"] == {
            "Fn::If": ["HasKey", {"Ref": "AWS::NoValue"}, True]
        }
    for table in template.of_type("AWS::DynamoDB::Table").values():
        assert table["Properties"]["SSESpecification"]["SSEEnabled"] is True


def test_the_key_opens_what_callers_of_the_account_may_use_by_a_service_and_nothing_else(
    statements: dict[str, dict[str, Any]],
) -> None:
    """So no role needs a right on the key, whichever key a stage has."""
    condition = statements["ByServices"]["Condition"]["StringEquals"]
    assert condition["kms:CallerAccount"] == {"Ref": "AWS::AccountId"}
    assert condition["kms:ViaService"] == [
        {"Fn::Sub": f"{service}.${{AWS::Region}}.amazonaws.com"} for service in ASKED_BY_ROLES
    ]
    # A writer of a queue makes data keys, a reader decrypts; a table is opened by a grant.
    needed = {"kms:Decrypt", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"}
    assert needed <= set(statements["ByServices"]["Action"])


def test_the_key_encrypts_the_logs_of_every_stack(
    statements: dict[str, dict[str, Any]], templates: dict[str, Template]
) -> None:
    (allowed,) = statements["Logs"]["Condition"]["ArnLike"].values()
    prefixes = [each["Fn::Sub"].partition("log-group:")[2].removesuffix("*") for each in allowed]
    for template in templates.values():
        for group in template.of_type("AWS::Logs::LogGroup").values():
            name = group["Properties"]["LogGroupName"]["Fn::Sub"]
            assert any(name.startswith(prefix) for prefix in prefixes), name


def test_alarms_reach_a_topic_that_is_encrypted_with_the_key(
    account: Template, statements: dict[str, dict[str, Any]]
) -> None:
    """They cannot publish to one that is encrypted with AWS's own key for SNS."""
    topic = account.resources["AlarmTopic"]["Properties"]
    assert topic["KmsMasterKeyId"] == {
        "Fn::If": ["HasOwnKey", {"Ref": "Key"}, {"Ref": "AWS::NoValue"}]
    }
    alarms = statements["Alarms"]
    assert alarms["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert alarms["Action"] == ["kms:Decrypt", "kms:GenerateDataKey*"]


def test_the_key_outlives_its_stack_but_not_a_failed_first_deployment(account: Template) -> None:
    """Without it nothing of a table can be read any more."""
    key = account.resources["Key"]
    assert key["DeletionPolicy"] == "RetainExceptOnCreate"
    assert key["UpdateReplacePolicy"] == "Retain"
    assert key["Properties"]["EnableKeyRotation"] is True
    assert account.parameters["OwnKey"]["Default"] == "false"
