"""Takes a stage's stack away, and lists what is left of it."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, WaiterError

from devstack.deploying.plan import ALL, Plan
from devstack.deploying.preflight import require_credentials, state_of
from devstack.errors import DevstackError
from devstack.progress import Progress
from devstack.stacks import DEPLOY_ORDER

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

PROTECTION = "ProtectData"

BUCKET_STACK = "aws-sam-cli-managed-default"

OBJECTS_A_CALL = 1000

LATE_CALL_PAUSES = (2.0, 4.0, 8.0, 0.0)
"""Seconds. A call that was under way writes its last lines when the stack is gone: a push lasts ten."""

_LOG_GROUP = "log group "


def destroy(stack: str, stage: str, *, force: bool, progress: Progress | None = None) -> None:
    """Deletes the stack, its uploaded artifacts and, with data, every version of the layer.

    Args:
        stack: one of the four, or `all`: the whole stage, however it was deployed.
        stage: one of its samconfig.toml.
        force: also what is protected: tables and users, with all that is in them.
        progress: a step a thing that is deleted.

    Raises:
        DevstackError: another stack stands on this one, the data is protected, or something is left.
    """
    progress = progress or Progress()
    plan = Plan.of(stack, stage)
    session = plan.session()
    require_credentials(session, plan)
    plans = _in_order(plan)
    _refuse_what_others_read(session, plan)
    if not force:
        _refuse_protected(session, plans)
    for each in plans:
        if state_of(session, each.stack_name) is not None:
            _delete(session, each, progress)
        _delete_artifacts(session, each)
    if plan.stack in {"data", ALL}:
        _delete_layers(session, stage)
    left = _left_in_the_end(session, plan, plans)
    if left:
        raise DevstackError("Left behind: " + ", ".join(left))
    progress.note(f"Nothing is left of {stack} of stage {stage}.")


def _left_in_the_end(
    session: "boto3.session.Session", plan: Plan, plans: list[Plan]
) -> dict[str, None]:
    """What stays though log groups are deleted once more: late calls make theirs again meanwhile."""
    for pause in LATE_CALL_PAUSES:
        for name in _left_log_groups(session, plan):
            session.client("logs").delete_log_group(logGroupName=name)
        left = dict.fromkeys(name for each in plans for name in left_of(session, each))
        if not any(name.startswith(_LOG_GROUP) for name in left):
            break
        time.sleep(pause)
    return left


def left_of(session: "boto3.session.Session", plan: Plan) -> Iterator[str]:
    """Names of what an account still has of the stack."""
    if state_of(session, plan.stack_name) is not None:
        yield f"stack {plan.stack_name}"
    prefix = f"chat-{plan.stage}"
    for name in _parameters(
        session, f"/chat/{plan.stage}/" + ("" if plan.stack == ALL else plan.stack)
    ):
        yield f"parameter {name}"
    yield from (f"function {name}" for name in _functions(session, plan))
    yield from (f"{_LOG_GROUP}{name}" for name in _log_groups(session, plan))
    if plan.stack in {"data", ALL}:
        for tables in session.client("dynamodb").get_paginator("list_tables").paginate():
            yield from (
                f"table {name}" for name in tables["TableNames"] if name.startswith(f"{prefix}-")
            )
        yield from (f"layer version {arn}" for arn in _layer_versions(session, plan.stage))


def _functions(session: "boto3.session.Session", plan: Plan) -> Iterator[str]:
    prefix = _member_prefix(plan)
    for page in session.client("lambda").get_paginator("list_functions").paginate():
        names = (each["FunctionName"] for each in page["Functions"])
        yield from (name for name in names if name.startswith(prefix))


def _log_groups(session: "boto3.session.Session", plan: Plan) -> list[str]:
    api = f"chat-{plan.stage}-" + ("" if plan.stack == ALL else plan.stack)
    pages = session.client("logs").get_paginator("describe_log_groups")
    return [
        group["logGroupName"]
        for prefix in (f"/aws/lambda/{_member_prefix(plan)}", f"/aws/vendedlogs/{api}")
        for page in pages.paginate(logGroupNamePrefix=prefix)
        for group in page["logGroups"]
    ]


def _left_log_groups(session: "boto3.session.Session", plan: Plan) -> set[str]:
    """Of the stack, and of those that went before: a call that ends late makes its group again."""
    is_nested = state_of(session, Plan.of(ALL, plan.stage).stack_name) is not None
    others = [] if is_nested else [Plan.of(each, plan.stage) for each in DEPLOY_ORDER]
    gone = [each for each in others if state_of(session, each.stack_name) is None]
    return {name for each in (plan, *gone) for name in _log_groups(session, each)}


def _member_prefix(plan: Plan) -> str:
    """Of the stack's functions, or of all of the stage."""
    stage = f"chat-{plan.stage}-"
    return stage if plan.stack == ALL else f"{stage}{plan.stack}_"


def _in_order(plan: Plan) -> list[Plan]:
    """Readers before what they read; with `all` the root first, if the stage is deployed so."""
    if plan.stack != ALL:
        return [plan]
    return [plan, *(Plan.of(each, plan.stage) for each in reversed(DEPLOY_ORDER))]


def _refuse_what_others_read(session: "boto3.session.Session", plan: Plan) -> None:
    if plan.stack == ALL:
        return
    readers = [
        each
        for each in DEPLOY_ORDER
        if plan.stack in Plan.of(each, plan.stage).reads
        and state_of(session, f"chat-{plan.stage}-{each}") is not None
    ]
    if readers:
        raise DevstackError(
            f"{plan.stack} of stage {plan.stage} is what {', '.join(readers)} stand on: "
            f"`make destroy STACK={readers[-1]} STAGE={plan.stage}` first, "
            f"or the whole stage: `make destroy STACK=all STAGE={plan.stage}`."
        )


def _refuse_protected(session: "boto3.session.Session", plans: list[Plan]) -> None:
    protected = [each.stack_name for each in plans if _is_protected(session, each)]
    if protected:
        raise DevstackError(
            f"{', '.join(protected)} holds protected data, every channel, message and user of the "
            "stage: with FORCE=1 they are deleted as well. Nothing was deleted."
        )


def _is_protected(session: "boto3.session.Session", plan: Plan) -> bool:
    if state_of(session, plan.stack_name) is None:
        return False
    cloudformation = session.client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName=plan.stack_name)["Stacks"]
    values = {each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", [])}
    return values.get(PROTECTION) == "true"


def _delete(session: "boto3.session.Session", plan: Plan, progress: Progress) -> None:
    cloudformation = session.client("cloudformation")
    if _is_protected(session, plan):
        with progress.step(f"Protection of {plan.stack_name} taken off"):
            (stack,) = cloudformation.describe_stacks(StackName=plan.stack_name)["Stacks"]
            cloudformation.update_stack(
                StackName=plan.stack_name,
                UsePreviousTemplate=True,
                Parameters=[
                    (
                        {"ParameterKey": each["ParameterKey"], "ParameterValue": "false"}
                        if each["ParameterKey"] == PROTECTION
                        else {"ParameterKey": each["ParameterKey"], "UsePreviousValue": True}
                    )
                    for each in stack["Parameters"]
                ],
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            )
            _wait(session, "stack_update_complete", plan.stack_name)
    with progress.step(f"Stack {plan.stack_name} deleted"):
        cloudformation.delete_stack(StackName=plan.stack_name)
        _wait(session, "stack_delete_complete", plan.stack_name)


def _wait(session: "boto3.session.Session", event: str, stack_name: str) -> None:
    cloudformation = session.client("cloudformation")
    try:
        if event == "stack_update_complete":
            cloudformation.get_waiter("stack_update_complete").wait(
                StackName=stack_name, WaiterConfig={"Delay": 3, "MaxAttempts": 400}
            )
        else:
            cloudformation.get_waiter("stack_delete_complete").wait(
                StackName=stack_name, WaiterConfig={"Delay": 3, "MaxAttempts": 400}
            )
    except WaiterError as error:
        raise DevstackError(
            f"Stack {stack_name} is {state_of(session, stack_name)}: "
            f"`aws cloudformation describe-stack-events --stack-name {stack_name}` says why."
        ) from error


def _delete_artifacts(session: "boto3.session.Session", plan: Plan) -> None:
    """What `sam deploy` uploaded under the stack's prefix."""
    try:
        resource = session.client("cloudformation").describe_stack_resource(
            StackName=BUCKET_STACK, LogicalResourceId="SamCliSourceBucket"
        )
    except ClientError:
        return
    bucket = resource["StackResourceDetail"].get("PhysicalResourceId", "")
    s3 = session.client("s3")
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix=f"{plan.stack_name}/"
    )
    for page in pages:
        versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        objects: list[ObjectIdentifierTypeDef] = [
            {"Key": each["Key"], "VersionId": each["VersionId"]} for each in versions
        ]
        if objects:
            s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})


def _layer_versions(session: "boto3.session.Session", stage: str) -> list[str]:
    pages = (
        session.client("lambda")
        .get_paginator("list_layer_versions")
        .paginate(LayerName=f"chat-{stage}-commons")
    )
    return [version["LayerVersionArn"] for page in pages for version in page["LayerVersions"]]


def _delete_layers(session: "boto3.session.Session", stage: str) -> None:
    """Retained by the template, for functions of stacks that were not deployed since."""
    functions = session.client("lambda")
    for arn in _layer_versions(session, stage):
        functions.delete_layer_version(
            LayerName=f"chat-{stage}-commons", VersionNumber=int(arn.rpartition(":")[2])
        )


def _parameters(session: "boto3.session.Session", path: str) -> Iterator[str]:
    pages = (
        session.client("ssm")
        .get_paginator("get_parameters_by_path")
        .paginate(Path=path, Recursive=True)
    )
    for page in pages:
        yield from (each["Name"] for each in page["Parameters"])
