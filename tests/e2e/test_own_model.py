"""The variables of `poe up`: a model server of one's own, with a key, and a front end elsewhere."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

import httpx
import psutil
import pytest
from pydantic import SecretStr
from tests.e2e.clients import RestClient, open_socket
from tests.e2e.own_stack import E2E_PORT
from websockets import Origin
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from devstack.config import LocalStackConfig
from devstack.local_stack import LocalStack
from devstack.processes import free_port

KEY = f"sk-{secrets.token_hex(16)}"
MODEL = "a-model-of-ones-own"
ANOTHER_MODEL = "another-model"
ORIGIN = "http://localhost:5173"
OWN_PORT = E2E_PORT + 100
pytestmark = [pytest.mark.alone, pytest.mark.rare]


def gate(model_url: str) -> type[BaseHTTPRequestHandler]:
    """Passes on to the model what carries the key."""

    class Gate(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.headers["Authorization"] != f"Bearer {KEY}":
                self.send_error(401)
                return
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with httpx.stream("POST", model_url + self.path, content=body, timeout=60) as answer:
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.end_headers()
                for part in answer.iter_raw():
                    self.wfile.write(part)

        def log_message(self, *_arguments: object) -> None:
            """Nothing: the suite's output is its own."""

    return Gate


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.fixture(scope="module")
def stack_with_own_model(
    local_stack: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalStack]:
    """A stack beside the session's: on the emulator other origins make another API of other URLs.

    Its model is the session's demo model, behind the gate.
    """
    demo_model = f"http://127.0.0.1:{local_stack.config.port + 1}"
    with serving(gate(demo_model)) as url:
        stack = LocalStack(
            LocalStackConfig(
                port=free_port(OWN_PORT),
                local_dir=tmp_path_factory.mktemp("own-model"),
                enforce_rights=True,
                model_url=url,
                model=MODEL,
                model_key=SecretStr(KEY),
                allowed_origins=ORIGIN,
            )
        )
        try:
            stack.up()
            yield stack
        finally:
            stack.down()


@pytest.fixture
def caller(stack_with_own_model: LocalStack) -> Iterator[RestClient]:
    outputs = stack_with_own_model.outputs()
    token = stack_with_own_model.users(outputs).token("gina")
    with RestClient(outputs.rest_url, token) as client:
        yield client


def test_a_new_channel_asks_the_named_model_with_the_key(
    stack_with_own_model: LocalStack, caller: RestClient
) -> None:
    body = {"name": "room"}
    channel = caller.call("POST", "/channels", 201, json=body).json()
    channel_id = channel["channelId"]
    url = stack_with_own_model.outputs().websocket_url

    query = urlencode({"ticket": caller.ticket(), "channels": channel_id})
    with open_socket(url, query) as listener:
        caller.post(channel_id, "Who are you?")
        _question, reply = listener.wait_for_events(channel_id, 2)

    assert channel["agent"]["modelId"] == MODEL
    assert reply["type"] == "message.created", reply
    assert reply["data"]["usage"]["modelId"] == MODEL


def test_status_names_the_model(stack_with_own_model: LocalStack) -> None:
    lines = stack_with_own_model.status().lines

    assert any(line.startswith("model ") and MODEL in line for line in lines)


def test_the_key_is_in_no_log_and_on_no_command_line(stack_with_own_model: LocalStack) -> None:
    logs = list(stack_with_own_model.config.logs_dir.iterdir())
    command_lines = [
        " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
    ]

    assert any("deploy-workers" in log.name for log in logs)
    assert not [log.name for log in logs if KEY in log.read_text(errors="replace")]
    assert not [line for line in command_lines if KEY in line]


def test_a_page_of_an_allowed_origin_may_call_and_connect(
    stack_with_own_model: LocalStack, caller: RestClient
) -> None:
    outputs = stack_with_own_model.outputs()

    preflight = httpx.options(
        f"{outputs.rest_url}/v1/channels",
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
        timeout=30,
    )
    with connect(f"{outputs.websocket_url}?ticket={caller.ticket()}", origin=Origin(ORIGIN)):
        pass

    assert preflight.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_a_page_of_another_origin_may_not_connect(
    stack_with_own_model: LocalStack, caller: RestClient
) -> None:
    url = f"{stack_with_own_model.outputs().websocket_url}?ticket={caller.ticket()}"

    with pytest.raises(InvalidStatus), connect(url, origin=Origin("http://elsewhere.example")):
        pass


def test_another_model_alone_is_taken_by_channels_old_and_new(
    stack_with_own_model: LocalStack, caller: RestClient
) -> None:
    stack = LocalStack(stack_with_own_model.config.model_copy(update={"model": ANOTHER_MODEL}))
    old = caller.create_channel(name="old", mode="off")

    stack.up()
    new = caller.call("POST", "/channels", 201, json={"name": "new"}).json()
    caller.call("PATCH", f"/channels/{old}", 200, json={"agent": {"modelId": ANOTHER_MODEL}})

    assert new["agent"]["modelId"] == ANOTHER_MODEL
    refused = caller.call("PATCH", f"/channels/{old}", 422, json={"agent": {"modelId": MODEL}})
    assert refused.json()["errors"]
