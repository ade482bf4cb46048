"""What both stream workers are tried with: a gateway on loopback, queues of the real template."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
from aws_lambda_powertools.utilities.typing import LambdaContext
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # no stubs

WORKERS_TEMPLATE = Path(__file__).parents[3] / "stacks" / "workers" / "template.yaml"


@dataclass
class Gateway:
    """A management API on loopback; connections are open unless said to be gone."""

    url: str = ""
    gone: set[str] = field(default_factory=set)
    bodies: dict[str, list[bytes]] = field(default_factory=dict)

    def post(self, connection_id: str, body: bytes) -> int:
        if connection_id in self.gone:
            return 410
        self.bodies.setdefault(connection_id, []).append(body)
        return 200

    def frames(self, connection_id: str) -> list[dict[str, object]]:
        return [json.loads(body) for body in self.bodies.get(connection_id, [])]

    def seqs(self, connection_id: str) -> list[int]:
        return [
            event["seq"]
            for body in self.bodies.get(connection_id, [])
            for event in json.loads(body)["events"]
        ]


@contextmanager
def serving_gateway() -> Iterator[Gateway]:
    gateway = Gateway()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(gateway.post(unquote(self.path.rsplit("/", 1)[1]), body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    gateway.url = f"http://127.0.0.1:{server.server_port}/test"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@cache
def _resources() -> dict[str, Any]:
    resources: dict[str, Any] = yaml_parse(WORKERS_TEMPLATE.read_text())["Resources"]
    return resources


def deploy_queue(function: str, variable: str) -> str:
    """Deploys the queue that the template's function is told of by a variable; returns its URL."""
    resources = _resources()
    environment = resources[function]["Properties"]["Environment"]["Variables"]
    wanted = {environment[variable]["Ref"]}
    redrive = resources[environment[variable]["Ref"]]["Properties"].get("RedrivePolicy")
    if redrive is not None:
        wanted.add(redrive["deadLetterTargetArn"]["Fn::GetAtt"][0])
    stack = f"chat-test-{variable.lower().replace('_', '-')}"
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(
        StackName=stack,
        TemplateBody=json.dumps(
            {
                "Parameters": {
                    "Stage": {"Type": "String"},
                    "KeyArn": {"Type": "String", "Default": ""},
                },
                "Conditions": {"HasKey": {"Fn::Not": [{"Fn::Equals": [{"Ref": "KeyArn"}, ""]}]}},
                "Resources": {name: resources[name] for name in wanted},
            }
        ),
        Parameters=[{"ParameterKey": "Stage", "ParameterValue": "test"}],
    )
    queue = cloudformation.describe_stack_resource(
        StackName=stack, LogicalResourceId=environment[variable]["Ref"]
    )
    return queue["StackResourceDetail"]["PhysicalResourceId"]


def context_of(function: str) -> LambdaContext:
    context = LambdaContext()
    context._function_name = function
    context._memory_limit_in_mb = 1769
    context._invoked_function_arn = f"arn:aws:lambda:eu-west-1:1:function:{function}"
    context._aws_request_id = "request-1"
    return context
