"""Four teams deploy a second stage with `make deploy`'s command, talk there, and take it away."""

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator

import boto3
import pytest
from tests.e2e.clients import RestClient, open_socket

from devstack.aws import environment
from devstack.config import ROOT
from devstack.deploying import destroying
from devstack.deploying.plan import ALL, Plan
from devstack.local_stack import LocalStack

pytestmark = [pytest.mark.alone, pytest.mark.rare]

STAGE = "dev"
ORDER = ("data", "websocket", "workers", "rest")

type Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def devstack(local_stack: LocalStack) -> Run:
    """Runs a command of `make` against the emulator as against an account."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "devstack", *arguments],
            cwd=ROOT,
            env=environment(local_stack.config.endpoint) | {"AWS_REGION": "eu-central-1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run


@pytest.fixture(scope="module")
def account(local_stack: LocalStack) -> Iterator[boto3.session.Session]:
    """The emulator's account in the stage's region; what a test leaves of the stage is taken away."""
    patch = pytest.MonkeyPatch()
    for name, value in environment(local_stack.config.endpoint).items():
        patch.setenv(name, value)
    yield Plan.of("data", STAGE).session()
    destroying.destroy(ALL, STAGE, force=True)
    patch.undo()


def published(session: boto3.session.Session) -> dict[str, str]:
    pages = (
        session.client("ssm")
        .get_paginator("get_parameters_by_path")
        .paginate(Path=f"/chat/{STAGE}/", Recursive=True)
    )
    return {
        each["Name"].removeprefix(f"/chat/{STAGE}/"): each["Value"]
        for page in pages
        for each in page["Parameters"]
    }


def token_of(session: boto3.session.Session, user: str) -> str:
    names = published(session)
    pool = names["data/jwt-issuer"].rpartition("/")[2]
    password = secrets.token_urlsafe(24)
    cognito = session.client("cognito-idp")
    cognito.admin_create_user(
        UserPoolId=pool, Username=user, TemporaryPassword=password, MessageAction="SUPPRESS"
    )
    cognito.admin_set_user_password(
        UserPoolId=pool, Username=user, Password=password, Permanent=True
    )
    answer = cognito.admin_initiate_auth(
        UserPoolId=pool,
        ClientId=names["data/jwt-audience"],
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": user, "PASSWORD": password},
    )
    token: str = answer["AuthenticationResult"]["AccessToken"]
    return token


def test_a_stage_is_deployed_stack_by_stack_beside_another_and_taken_away(
    devstack: Run, account: boto3.session.Session, alice: RestClient
) -> None:
    refused = devstack("deploy", "rest", "--stage", STAGE)
    assert refused.returncode == 1
    for each in ("data", "websocket", "workers"):
        assert f"make deploy STACK={each} STAGE={STAGE}" in refused.stderr
    assert "make account" in refused.stderr
    assert "Building" not in refused.stdout + refused.stderr

    assert devstack("account", "--stage", STAGE).returncode == 0
    for stack in ORDER:
        done = devstack("deploy", stack, "--stage", STAGE)
        assert done.returncode == 0, (stack, done.stdout[-2000:], done.stderr[-2000:])

    names = published(account)
    with RestClient(names["rest/url"].rstrip("/"), token_of(account, "zoe")) as zoe:
        channel = zoe.create_channel(mode="off")
        with open_socket(names["websocket/url"], f"ticket={zoe.ticket()}&channels={channel}") as at:
            posted = zoe.post(channel, "the first word of the second stage")
            (arrived,) = at.wait_for_events(channel, 1)
        assert arrived == json.loads(json.dumps(posted))
    assert alice.create_channel(mode="off")

    for stack in ("data", "websocket"):
        kept = devstack("destroy", stack, "--stage", STAGE)
        assert kept.returncode == 1
        assert "make destroy STACK=rest" in kept.stderr
    for stack in reversed(ORDER):
        gone = devstack("destroy", stack, "--stage", STAGE)
        assert gone.returncode == 0, (stack, gone.stdout, gone.stderr)
    assert list(destroying.left_of(account, Plan.of(ALL, STAGE))) == []
    assert published(account) == {}
    assert alice.create_channel(mode="off")
