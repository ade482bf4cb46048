"""Deploys one stack, or the root template that nests the four, with `sam`."""

import json
import os
import subprocess
import sys

from botocore.exceptions import BotoCoreError, ClientError

from devstack.config import LocalStackConfig
from devstack.deploying.concurrency import ROOMY, Fit, fit
from devstack.deploying.plan import ALL, Plan, is_emulated
from devstack.deploying.preflight import require_ready, state_of
from devstack.deploying.release import stamps
from devstack.emulator import uv
from devstack.errors import DevstackError
from devstack.progress import Progress
from devstack.stacks import BUILD_MARKER, DEPLOY_ORDER, SAM, Stack
from devstack.warm_up import REFRESH

PLATFORMS = {"arm64": "aarch64-manylinux_2_28", "x86_64": "x86_64-manylinux_2_28"}

PROTECTION = "ProtectData"
WITH_TOOLS = ("workers", ALL)
"""What deploys the function that keeps the catalogue of tools."""


def deploy(stack: str, stage: str, progress: Progress | None = None) -> None:
    """Looks at the account, builds and deploys.

    Args:
        stack: one of the four, or `all`.
        stage: one of its samconfig.toml.
        progress: where it is said what was chosen for the account.

    Raises:
        DevstackError: a name is wrong, the account is not ready, or `sam` failed.
    """
    progress = progress or Progress()
    plan = Plan.of(stack, stage)
    require_ready(plan)
    overrides = plan.overrides | _fitting(plan, progress).parameters
    overrides |= {name: each for name, each in stamps().items() if name in overrides}
    if not _is_built_here(plan):
        _sam(plan, "build", "--parallel")
    if overrides.get(PROTECTION) == "true" and state_of(plan.session(), plan.stack_name) is None:
        # A first deployment that fails is rolled back by deleting what it made, and protected tables
        # would stay behind: protection is switched on once everything is there.
        progress.note("First deployment: without protection, which follows.")
        _deploy(plan, overrides | {PROTECTION: "false"})
    _deploy(plan, overrides)
    if stack in WITH_TOOLS:
        _refresh_tools(plan, progress)


def _refresh_tools(plan: Plan, progress: Progress) -> None:
    """Another `ToolServers` counts at once, and not at the next five minutes; that is all there is to it."""
    function = f"chat-{plan.stage}-workers_tools"
    try:
        answer = plan.session().client("lambda").invoke(FunctionName=function, Payload=REFRESH)
        refreshed = json.loads(answer["Payload"].read())
    except (BotoCoreError, ClientError, ValueError) as error:
        progress.note(f"{function} did not refresh the tools: {type(error).__name__}.")
        return
    if "FunctionError" in answer:
        progress.note(f"{function} did not refresh the tools: its log and the runbook say why.")
        return
    unread = ", ".join(refreshed["unread"])
    said = f"Tools: {refreshed['tools']} of {refreshed['servers']} servers"
    progress.note(f"{said}; not read: {unread}." if unread else f"{said}.")


def _is_built_here(plan: Plan) -> bool:
    """Whether `poe up` has built the same for this machine, where an emulator runs it."""
    if not is_emulated() or plan.stack == ALL:
        return False
    (name,) = (each for each in DEPLOY_ORDER if each == plan.stack)
    return Stack(name, LocalStackConfig()).is_built()


def _fitting(plan: Plan, progress: Progress) -> Fit:
    quota = _quota(plan)
    fitting = fit(plan.overrides, quota)
    chosen = {
        name: value for name, value in fitting.parameters.items() if plan.overrides[name] != value
    }
    if chosen:
        said = ", ".join(f"{name} {value}" for name, value in chosen.items())
        progress.note(f"The account runs {quota} functions at once: {said}.")
    if fitting.is_reduced:
        progress.note(
            "For more: aws service-quotas request-service-quota-increase --service-code lambda "
            f"--quota-code L-B99A9384 --desired-value {ROOMY} --region {plan.region}"
        )
    return fitting


def _quota(plan: Plan) -> int:
    limits = plan.session().client("lambda").get_account_settings()["AccountLimit"]
    return int(limits["ConcurrentExecutions"])


def _deploy(plan: Plan, overrides: dict[str, str]) -> None:
    # In JSON's quotes: `sam` takes an empty value in no other form.
    listed = [f"{name}={json.dumps(value)}" for name, value in overrides.items()]
    _sam(plan, "deploy", "--parameter-overrides", *listed)


def _sam(plan: Plan, verb: str, *arguments: str) -> None:
    environment = {**os.environ, "UV": uv(), "SAM_CLI_TELEMETRY": "0"}
    if is_emulated():
        # It runs functions as processes of this machine.
        environment |= {"CHAT_PLATFORM": "native", "CHAT_PYTHON": sys.executable}
    else:
        environment["CHAT_PLATFORM"] = PLATFORMS[plan.overrides.get("Architecture", "arm64")]
    if verb == "build":
        (plan.directory / BUILD_MARKER).unlink(missing_ok=True)
    finished = subprocess.run(
        [SAM, verb, "--config-env", plan.stage, *arguments],
        cwd=plan.directory,
        env=environment,
        check=False,
    )
    if finished.returncode != 0:
        name = "the root template" if plan.stack == ALL else plan.stack
        raise DevstackError(f"`sam {verb}` of {name} failed.")
