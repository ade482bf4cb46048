"""A stage that is taken away leaves nothing, and another stage is not touched."""

import json
from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from devstack.deploying import destroying
from devstack.deploying.destroying import destroy, left_of
from devstack.deploying.plan import ALL, Plan
from devstack.errors import DevstackError

MADE_AGAIN = "/aws/lambda/chat-dev-workers_presence"
OTHERS = {"/aws/lambda/chat-dev-websocket_connect", "/aws/lambda/chat-prod-workers_presence"}


def make_log_groups(session: boto3.session.Session, stack_name: str, names: set[str]) -> None:
    groups = {
        f"Group{number}": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": name}}
        for number, name in enumerate(sorted(names))
    }
    template = json.dumps({"Resources": groups})
    session.client("cloudformation").create_stack(StackName=stack_name, TemplateBody=template)


@pytest.fixture
def account() -> Iterator[boto3.session.Session]:
    with mock_aws():
        session = Plan.of("workers", "dev").session()
        cloudformation = session.client("cloudformation")
        make_log_groups(session, "groups", {MADE_AGAIN, *OTHERS})
        topic = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
        cloudformation.create_stack(StackName="chat-dev-websocket", TemplateBody=topic)
        yield session


def log_groups(session: boto3.session.Session) -> set[str]:
    groups = session.client("logs").describe_log_groups()["logGroups"]
    return {each["logGroupName"] for each in groups}


def test_a_log_group_that_a_late_call_made_again_is_deleted(
    account: boto3.session.Session,
) -> None:
    destroy("workers", "dev", force=False)

    assert log_groups(account) == OTHERS


def test_a_log_group_that_was_made_again_after_its_stack_was_gone_goes_with_the_next_one(
    account: boto3.session.Session,
) -> None:
    destroy("rest", "dev", force=False)

    assert log_groups(account) == OTHERS


def test_a_log_group_that_comes_again_while_it_is_looked_for_is_deleted_too(
    account: boto3.session.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def made_once_more(*_: object) -> list[str]:
        if pauses:
            return []
        make_log_groups(account, "late-call", {MADE_AGAIN})
        return [f"log group {MADE_AGAIN}"]

    monkeypatch.setattr(destroying, "left_of", made_once_more)
    monkeypatch.setattr("devstack.deploying.destroying.time.sleep", pauses.append)

    destroy("workers", "dev", force=False)

    assert pauses == [2.0]
    assert log_groups(account) == OTHERS


@pytest.mark.usefixtures("account")
def test_what_is_left_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destroying, "left_of", lambda *_: ["parameter /chat/dev/rest/url"])

    with pytest.raises(DevstackError) as refused:
        destroy(ALL, "dev", force=True)

    assert str(refused.value) == "Left behind: parameter /chat/dev/rest/url"


def test_a_group_that_stays_is_listed(account: boto3.session.Session) -> None:
    assert list(left_of(account, Plan.of("workers", "dev"))) == [f"log group {MADE_AGAIN}"]
