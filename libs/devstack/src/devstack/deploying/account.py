"""Deploys what an account and region have once (stacks/account)."""

import os
import subprocess
from dataclasses import dataclass

from devstack.config import STACKS_ROOT
from devstack.deploying.plan import Plan
from devstack.deploying.preflight import require_credentials
from devstack.errors import DevstackError
from devstack.stacks import SAM

STACK_NAME = "chat-account"

ALARM_SHARE = 80
"""Percent of the account's quota of functions at once that ring."""


@dataclass(frozen=True)
class Account:
    """What the stages' samconfig.toml names of the account's stack; `key` is None where it has none."""

    topic: str
    key: str | None


def deploy_account(stage: str, *, email: str = "", has_key: bool = False) -> Account:
    """Deploys the account's stack to the stage's region.

    Args:
        stage: whose region is meant.
        email: who hears of alarms by mail; empty: who did before.
        has_key: make a key of one's own; one that was made before stays.

    Raises:
        DevstackError: there are no credentials, or `sam` failed.
    """
    plan = Plan.of("data", stage)
    session = plan.session()
    require_credentials(session, plan)
    limits = session.client("lambda").get_account_settings()["AccountLimit"]
    rings_at = max(1, int(limits["ConcurrentExecutions"]) * ALARM_SHARE // 100)
    finished = subprocess.run(
        [
            SAM,
            "deploy",
            "--template-file",
            str(STACKS_ROOT / "account" / "template.yaml"),
            "--stack-name",
            STACK_NAME,
            "--region",
            plan.region,
            "--capabilities",
            "CAPABILITY_IAM",
            "--resolve-s3",
            "--no-confirm-changeset",
            "--no-fail-on-empty-changeset",
            "--parameter-overrides",
            # What is left out stays as it is.
            f"ConcurrencyAlarmAt={rings_at}",
            *([f"AlarmEmail={email}"] if email else []),
            *(["OwnKey=true"] if has_key else []),
        ],
        env={**os.environ, "SAM_CLI_TELEMETRY": "0"},
        check=False,
    )
    if finished.returncode != 0:
        raise DevstackError("`sam deploy` of the account's stack failed.")
    (stack,) = session.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
    return Account(topic=outputs["AlarmTopicArn"], key=outputs.get("KeyArn"))
