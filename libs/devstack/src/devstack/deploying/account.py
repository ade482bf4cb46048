"""Deploys what an account and region have once (stacks/account)."""

import os
import subprocess

from devstack.config import STACKS_ROOT
from devstack.deploying.plan import Plan
from devstack.deploying.preflight import require_credentials
from devstack.errors import DevstackError
from devstack.stacks import SAM

STACK_NAME = "chat-account"

ALARM_SHARE = 80
"""Percent of the account's quota of functions at once that ring."""


def deploy_account(stage: str, *, email: str = "") -> str:
    """Deploys the account's stack to the stage's region.

    Returns:
        The ARN of the topic that hears of alarms.

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
            f"ConcurrencyAlarmAt={rings_at}",
            f'AlarmEmail="{email}"',
        ],
        env={**os.environ, "SAM_CLI_TELEMETRY": "0"},
        check=False,
    )
    if finished.returncode != 0:
        raise DevstackError("`sam deploy` of the account's stack failed.")
    (stack,) = session.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
    return outputs["AlarmTopicArn"]
