import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # no stubs

from commons.observability import log as logger
from workers_delivery import handler

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

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

    def seqs(self, connection_id: str) -> list[int]:
        return [
            event["seq"]
            for body in self.bodies.get(connection_id, [])
            for event in json.loads(body)["events"]
        ]


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
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
    monkeypatch.setenv("WEBSOCKET_CALLBACK_URL", gateway.url)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield gateway
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class ParkingQueue:
    url: str
    sqs: "SQSClient"

    def bodies(self) -> list[dict[str, object]]:
        answer = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    def break_down(self) -> None:
        self.sqs.delete_queue(QueueUrl=self.url)


@pytest.fixture
def parking(moto_aws: None, monkeypatch: pytest.MonkeyPatch) -> ParkingQueue:
    """The queue of the workers stack's own template."""
    resources = yaml_parse(WORKERS_TEMPLATE.read_text())["Resources"]
    function = resources["WorkersDeliveryFunction"]["Properties"]
    name = function["Environment"]["Variables"]["PARKING_QUEUE_URL"]["Ref"]
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(
        StackName="chat-test-workers",
        TemplateBody=json.dumps(
            {"Parameters": {"Stage": {"Type": "String"}}, "Resources": {name: resources[name]}}
        ),
        Parameters=[{"ParameterKey": "Stage", "ParameterValue": "test"}],
    )
    queue = cloudformation.describe_stack_resource(
        StackName="chat-test-workers", LogicalResourceId=name
    )
    url = queue["StackResourceDetail"]["PhysicalResourceId"]
    sqs = boto3.client("sqs")
    monkeypatch.setenv("PARKING_QUEUE_URL", url)
    return ParkingQueue(url, sqs)


@pytest.fixture(autouse=True)
def _cold_function() -> Iterator[None]:
    handler.batch_service.cache_clear()
    yield
    handler.batch_service.cache_clear()


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The function's log: the logger holds on to the stream it found when it was imported."""
    logged = io.StringIO()
    for each in logger.handlers:
        monkeypatch.setattr(each, "stream", logged)
    return logged


@pytest.fixture
def lambda_context() -> LambdaContext:
    context = LambdaContext()
    context._function_name = "workers_delivery"
    context._memory_limit_in_mb = 1769
    context._invoked_function_arn = "arn:aws:lambda:eu-west-1:1:function:workers_delivery"
    context._aws_request_id = "request-1"
    return context
