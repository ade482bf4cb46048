"""Looks at an account before anything is built: what is missing, all at once, and what mends it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from devstack.deploying.plan import ALL, Plan, is_emulated
from devstack.errors import DevstackError
from devstack.stacks import DEPLOY_ORDER

if TYPE_CHECKING:
    import boto3

NAMES_A_CALL = 10
"""What SSM's GetParameters takes."""

UNUSABLE = {
    "ROLLBACK_COMPLETE",
    "ROLLBACK_FAILED",
    "CREATE_FAILED",
    "DELETE_FAILED",
    "UPDATE_ROLLBACK_FAILED",
}
"""States that no deployment leaves."""


@dataclass(frozen=True)
class Missing:
    """What stands in the way, and the command or change that mends it."""

    what: str
    mend: str


def require_ready(plan: Plan) -> None:
    """Returns where the account is ready for the plan.

    Raises:
        DevstackError: it is not; the message lists everything.
    """
    session = plan.session()
    account = require_credentials(session, plan)
    found = [missing for look in _LOOKS for missing in _tolerant(look, session, plan)]
    if found:
        lines = "\n".join(f"  - {each.what}\n    {each.mend}" for each in found)
        raise DevstackError(
            f"Account {account} in {plan.region} is not ready for {plan.stack} of stage "
            f"{plan.stage}:\n{lines}\nNothing was built or uploaded."
        )


def state_of(session: "boto3.session.Session", stack_name: str) -> str | None:
    """The stack's status; None where there is none."""
    try:
        (stack,) = session.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"]
    except ClientError as error:
        if _code(error) == "ValidationError":
            return None
        raise
    status: str = stack["StackStatus"]
    return None if status == "DELETE_COMPLETE" else status


def require_credentials(session: "boto3.session.Session", plan: Plan) -> str:
    """The account that this shell is signed in to.

    Raises:
        DevstackError: it is signed in to none.
    """
    try:
        return session.client("sts").get_caller_identity()["Account"]
    except EndpointConnectionError as error:
        raise DevstackError(f"AWS cannot be reached: {error}") from error
    except ClientError as error:
        raise DevstackError(
            f"AWS refuses the credentials of this shell ({_code(error)}): sign in again, with "
            "`aws sso login` or `aws configure`. Nothing was built or uploaded."
        ) from error
    except BotoCoreError as error:
        raise DevstackError(
            f"This shell has no AWS credentials for stage {plan.stage}: sign in with "
            "`aws sso login` or `aws configure`, or set AWS_PROFILE. Nothing was built or uploaded."
        ) from error


type Look = Callable[["boto3.session.Session", Plan], Iterator[Missing]]


def _tolerant(look: Look, session: "boto3.session.Session", plan: Plan) -> list[Missing]:
    """What it finds; that it was not allowed to look is a finding, too."""
    try:
        return list(look(session, plan))
    except ClientError as error:
        subject = (look.__doc__ or "").rstrip(".")
        if not _code(error).startswith(("AccessDenied", "UnauthorizedOperation")):
            raise
        return [
            Missing(
                f"This shell may not look at: {subject[0].lower()}{subject[1:]} "
                f"({error.operation_name}).",
                f"Allow {error.operation_name}, or deploy with a role that may.",
            )
        ]


def _mode(session: "boto3.session.Session", plan: Plan) -> Iterator[Missing]:
    """Whether the stage is deployed whole or stack by stack."""
    root = f"chat-{plan.stage}"
    if plan.stack != ALL:
        if state_of(session, root):
            yield Missing(
                f"Stage {plan.stage} is deployed as a whole (stack {root}).",
                f"make deploy-all STAGE={plan.stage}",
            )
        return
    alone = [name for each in DEPLOY_ORDER if state_of(session, name := f"{root}-{each}")]
    if alone:
        yield Missing(
            f"Stage {plan.stage} is deployed stack by stack ({', '.join(alone)}).",
            f"make deploy STACK=... STAGE={plan.stage}",
        )


def _earlier_failure(session: "boto3.session.Session", plan: Plan) -> Iterator[Missing]:
    """What an earlier deployment left."""
    state = state_of(session, plan.stack_name)
    if state in UNUSABLE:
        yield Missing(
            f"Stack {plan.stack_name} is {state} since an earlier deployment.",
            f"make destroy STACK={plan.stack} STAGE={plan.stage}",
        )
    elif state is not None and state.endswith("_IN_PROGRESS"):
        yield Missing(
            f"Stack {plan.stack_name} is {state}: somebody deploys it.",
            "Wait until that has ended.",
        )


def _artifact_bucket(session: "boto3.session.Session", _plan: Plan) -> Iterator[Missing]:
    """The bucket of the SAM CLI, which it makes itself where there is none."""
    name = "aws-sam-cli-managed-default"
    state = state_of(session, name)
    if state in UNUSABLE:
        yield Missing(
            f"The SAM CLI's own stack {name} is {state}.",
            f"aws cloudformation delete-stack --stack-name {name}",
        )


def _published_names(session: "boto3.session.Session", plan: Plan) -> Iterator[Missing]:
    """What the stacks before this one publish in SSM."""
    ssm = session.client("ssm")
    names = [name for each in plan.reads.values() for name in each]
    absent: set[str] = set()
    for start in range(0, len(names), NAMES_A_CALL):
        answer = ssm.get_parameters(Names=names[start : start + NAMES_A_CALL])
        absent |= set(answer.get("InvalidParameters", []))
    for writer, published in plan.reads.items():
        missing = [name.rpartition("/")[2] for name in published if name in absent]
        if missing:
            yield Missing(
                f"The stack {writer} has not published {', '.join(missing)}.",
                f"make deploy STACK={writer} STAGE={plan.stage}",
            )


def _log_role(session: "boto3.session.Session", plan: Plan) -> Iterator[Missing]:
    """API Gateway's log role, once an account and region."""
    if plan.overrides.get("AccessLogs") != "true":
        return
    if not session.client("apigateway").get_account().get("cloudwatchRoleArn"):
        yield Missing(
            "API Gateway has no role to write access logs with; a stage that logs would fail.",
            f'make account STAGE={plan.stage}   (or AccessLogs = "false" in samconfig.toml)',
        )


def _alarm_topic(session: "boto3.session.Session", plan: Plan) -> Iterator[Missing]:
    """The topic that hears of alarms."""
    topic = plan.overrides.get("AlarmTopicArn", "")
    mend = f"make account STAGE={plan.stage}   prints the one to put into samconfig.toml"
    if not topic and plan.stage == "prod":
        yield Missing("Nobody would hear of alarms: stage prod needs AlarmTopicArn.", mend)
    if topic:
        try:
            session.client("sns").get_topic_attributes(TopicArn=topic)
        except ClientError as error:
            if not _code(error).startswith(("NotFound", "InvalidParameter")):
                raise
            yield Missing(f"There is no topic {topic}.", mend)


def _model(session: "boto3.session.Session", plan: Plan) -> Iterator[Missing]:
    """Whether Bedrock offers the models here and the account has access."""
    if plan.overrides.get("ModelProvider") != "bedrock" or is_emulated():
        return
    bedrock = session.client("bedrock")
    for model in plan.overrides["AllowedModels"].split(","):
        # An inference profile is a model with a group of regions before it: eu.amazon.nova-lite-v1:0
        vendor_first = model.strip().split(".")
        model_id = ".".join(
            vendor_first[1:] if len(vendor_first[0]) <= len("apac") else vendor_first
        )
        try:
            answer = bedrock.get_foundation_model_availability(modelId=model_id)
        except ClientError as error:
            if _code(error) not in {"ResourceNotFoundException", "ValidationException"}:
                raise
            yield Missing(
                f"Bedrock has no model {model_id} in {plan.region}.",
                "Choose another in AllowedModels and ModelArns of samconfig.toml.",
            )
            continue
        refused = [
            name
            for name, status in (
                ("the agreement", answer["agreementAvailability"]["status"]),
                ("the authorization", answer["authorizationStatus"]),
                ("the entitlement", answer["entitlementAvailability"]),
                ("the region", answer["regionAvailability"]),
            )
            if status not in {"AVAILABLE", "AUTHORIZED"}
        ]
        if refused:
            yield Missing(
                f"The account has no access to {model_id}: {', '.join(refused)} is missing.",
                f"aws bedrock create-foundation-model-agreement --model-id {model_id} ..., or "
                "Model access in Bedrock's console",
            )


_LOOKS: tuple[Look, ...] = (
    _mode,
    _earlier_failure,
    _artifact_bucket,
    _published_names,
    _log_role,
    _alarm_topic,
    _model,
)


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
