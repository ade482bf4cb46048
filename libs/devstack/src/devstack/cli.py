"""The commands behind `make` and `poe`."""

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

import httpx
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from devstack.aws import SECRETS, AwsClients
from devstack.commands import poe
from devstack.config import ENV_PREFIX, STAGE, LocalStackConfig
from devstack.demo import Demo
from devstack.deployed_users import deployed_users
from devstack.deploying import account as account_stack
from devstack.deploying import deployment, destroying
from devstack.deploying.plan import ALL, Plan
from devstack.errors import DevstackError
from devstack.follow import follow as follow_request
from devstack.local_stack import LocalStack
from devstack.outputs import Outputs
from devstack.probe import probe as probe_stage
from devstack.progress import Progress
from devstack.redrive import QUEUES, redriver
from devstack.stacks import published
from devstack.users import require_user_id

INTERRUPTED = 130


def up(_arguments: argparse.Namespace) -> None:
    stack = LocalStack(LocalStackConfig())
    print(_addresses(stack.up()))


def down(_arguments: argparse.Namespace) -> None:
    LocalStack(LocalStackConfig()).down()


def reset(_arguments: argparse.Namespace) -> None:
    LocalStack(LocalStackConfig()).reset()


def status(_arguments: argparse.Namespace) -> None:
    print("\n".join(LocalStack(LocalStackConfig()).status().lines))


def token(arguments: argparse.Namespace) -> None:
    require_user_id(arguments.user)
    if arguments.stage != STAGE:
        print(deployed_users(arguments.stage).token(arguments.user))
        return
    stack = LocalStack(LocalStackConfig(), Progress(sys.stderr))
    print(stack.users(stack.outputs()).token(arguments.user))


def demo(_arguments: argparse.Namespace) -> None:
    stack = LocalStack(LocalStackConfig())
    outputs = stack.outputs()
    Demo(outputs, stack.users(outputs), notes_url=stack.demo_notes_url()).play()


def chat(arguments: argparse.Namespace) -> int:
    """Full-screen, or one question; the exit codes are those of `chat_client.terminal.once`."""
    # pydantic models of the whole API and a screen: only who chats pays for their import.
    from devstack.chat import chat_as  # noqa: PLC0415

    stack = LocalStack(LocalStackConfig(), Progress(sys.stderr))
    outputs = stack.outputs()
    return chat_as(
        stack.users(outputs),
        outputs,
        user=arguments.user,
        channel_id=arguments.channel,
        text=arguments.once,
        seconds=arguments.timeout,
    )


def run(arguments: argparse.Namespace) -> None:
    """Up, demo, and at the end down, whatever happened, unless it was up before."""
    stack = LocalStack(LocalStackConfig())
    was_running = stack.is_running()
    try:
        outputs = stack.up()
        print()
        Demo(outputs, stack.users(outputs), notes_url=stack.demo_notes_url()).play()
        if not arguments.once:
            print(f"\n{_addresses(outputs)}\n\n{_what_next(stack.config)}", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
    finally:
        if was_running:
            print(f"\nThe stack ran before and goes on: `{poe('down')}` ends it.")
        else:
            stack.down()


def _addresses(outputs: Outputs) -> str:
    return (
        f"Web client  {outputs.web_client_url}\n"
        f"REST        {outputs.rest_url}/v1/...\n"
        f"WebSocket   {outputs.websocket_url}"
    )


def _what_next(config: LocalStackConfig) -> str:
    lines = [
        "Open the web client, choose a user, and talk.",
        f"A token for programs:  {poe('token alice')}   (or: make token USER=alice)",
    ]
    if config.model_url is None:
        lines.append(
            "A real model:  CHAT_MODEL_URL=http://127.0.0.1:11434/v1 CHAT_MODEL=llama3.2 make run"
            "   (CHAT_MODEL_KEY=... where it asks for a key)"
        )
    return "\n".join([*lines, "Running until Ctrl-C."])


def redrive(arguments: argparse.Namespace) -> None:
    redriven = redriver(arguments.stage, _clients_of(arguments.stage)).redrive(arguments.queue)
    print(f"{redriven.done} of {redriven.done + redriven.left} messages put back to work")
    if redriven.left:
        raise DevstackError(f"{redriven.left} could not be; they are still in the queue.")


def follow(arguments: argparse.Namespace) -> None:
    clients = _clients_of(arguments.stage)
    for line in follow_request(
        clients.logs(), arguments.stage, arguments.correlation_id, hours=arguments.hours
    ):
        print(line)


def probe(arguments: argparse.Namespace) -> None:
    names = published(_clients_of(arguments.stage), arguments.stage)
    try:
        findings = probe_stage(names["rest/url"].rstrip("/"), names["websocket/url"])
    except KeyError as error:
        raise DevstackError(f"Stage {arguments.stage} has not published {error}.") from error
    print("\n".join(map(str, findings)))
    if any(each.failure is not None for each in findings):
        raise DevstackError(f"Stage {arguments.stage} does not serve.")


def _clients_of(stage: str) -> AwsClients:
    """Of the local stack, or of the account that this shell is signed in to."""
    if stage == STAGE:
        return AwsClients(LocalStack(LocalStackConfig()).outputs().endpoint)
    return AwsClients(None, region=Plan.of("data", stage).region)


def build(_arguments: argparse.Namespace) -> None:
    LocalStack(LocalStackConfig()).build()


def deploy(arguments: argparse.Namespace) -> None:
    deployment.deploy(arguments.stack, arguments.stage)


def deploy_all(arguments: argparse.Namespace) -> None:
    deployment.deploy(ALL, arguments.stage)


def destroy(arguments: argparse.Namespace) -> None:
    destroying.destroy(arguments.stack, arguments.stage, force=arguments.force)


def account(arguments: argparse.Namespace) -> None:
    deployed = account_stack.deploy_account(
        arguments.stage, email=arguments.email, has_key=arguments.key
    )
    print(f"For the parameter AlarmTopicArn of samconfig.toml: {deployed.topic}")
    if deployed.key is not None:
        print(f"For the parameter KeyArn of samconfig.toml: {deployed.key}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devstack", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def add(
        name: str, command: Callable[[argparse.Namespace], int | None], description: str
    ) -> argparse.ArgumentParser:
        subparser = commands.add_parser(name, help=description, description=description)
        subparser.set_defaults(command=command)
        return subparser

    add("up", up, "Brings the local stack up in the background.")
    add("down", down, "Stops it; its state stays.")
    add("status", status, "Says what runs.")
    add("reset", reset, "Stops it and forgets its state.")
    one_token = add("token", token, "Prints a JWT for a user, who is created if new.")
    one_token.add_argument("user")
    one_token.add_argument(
        "--stage", default=STAGE, help="of that stage's user pool on AWS; without it, the local one"
    )
    add("demo", demo, "Plays the scripted conversation against the running stack.")
    talk = add("chat", chat, "Talks in the terminal, as a user of the running stack.")
    talk.add_argument("--user", required=True, help="who talks; created if new")
    talk.add_argument(
        "--channel", metavar="ID", help="where; without it the liveliest, or a new one"
    )
    talk.add_argument(
        "--once", metavar="TEXT", help="print the reply to this and exit; - reads standard input"
    )
    talk.add_argument(
        "--timeout", type=float, default=120.0, metavar="SECONDS", help="for --once (120)"
    )
    add("run", run, "Brings it up, plays the demo, and stays until Ctrl-C.").add_argument(
        "--once", action="store_true", help="end after the demo"
    )
    again = add("redrive", redrive, "Puts back to work what lies in a queue for what failed.")
    again.add_argument("queue", help=f"one of {', '.join(QUEUES)}")
    again.add_argument("--stage", default=STAGE, help="on AWS; without it, the local stack")
    one_request = add("follow", follow, "Prints what a stage's functions logged about one request.")
    one_request.add_argument("correlation_id", help="x-amzn-requestid of its answer")
    one_request.add_argument("--stage", default=STAGE, help="on AWS; without it, the local stack")
    one_request.add_argument("--hours", type=float, default=1.0, help="how far back to look")
    whole = add("probe", probe, "Asks a stage whether it serves, as a client would.")
    whole.add_argument("--stage", default=STAGE, help="on AWS; without it, the local stack")
    add("build", build, "Builds every stack with `sam build`.")
    one = add("deploy", deploy, "Deploys one stack to AWS.")
    one.add_argument("stack")
    one.add_argument("--stage", required=True)
    add("deploy-all", deploy_all, "Deploys the root template to AWS.").add_argument(
        "--stage", required=True
    )
    away = add("destroy", destroy, "Takes a stack of a stage away from AWS, or all of them.")
    away.add_argument("stack")
    away.add_argument("--stage", required=True)
    away.add_argument("--force", action="store_true", help="protected data, too")
    once = add("account", account, "Deploys what an AWS account and region have once.")
    once.add_argument("--stage", required=True, help="whose region is meant")
    once.add_argument("--email", default="", help="who hears of alarms by mail")
    once.add_argument("--key", action="store_true", help="make a key of one's own (KMS), too")
    return parser


def _wrong_settings(error: ValidationError) -> str:
    """Each by the name of its environment variable, with what it holds unless that is a secret."""
    settings = error.title == LocalStackConfig.__name__
    reasons = []
    for each in error.errors(include_url=False):
        name = ".".join(map(str, each["loc"]))
        variable = f"{ENV_PREFIX}{name.upper()}" if settings else name
        value = "" if variable in SECRETS else f" (it is {each['input']!r})"
        reasons.append(f"{variable}: {each['msg']}{value}")
    return "; ".join(reasons)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0, or 1 with the reason on stderr, or 130 when interrupted.

    A command that has exit codes of its own answers them.
    """
    parsed = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        code: int | None = parsed.command(parsed)
    except DevstackError as error:
        print(f"\nerror: {error.explain()}", file=sys.stderr)
        return 1
    except ValidationError as error:
        print(f"\nerror: {_wrong_settings(error)}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError, httpx.HTTPError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    return code or 0
