"""A conversation goes on while each stack is redeployed: nothing acknowledged is lost."""

import itertools
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import uuid4

import httpx
import pytest
from tests.e2e.clients import REPLY_TIMEOUT, Json, Redeploy, RestClient, Socket, eventually

from devstack.local_stack import LocalStack

pytestmark = [pytest.mark.alone, pytest.mark.rare]

CHANGED = {"LogLevel": "WARNING", "AlarmTopicArn": "arn:aws:sns:us-east-1:000000000000:nobody"}
"""A new environment for each function of a stack, and what else a deployment may change."""


class Writer(threading.Thread):
    """Posts without a pause, and repeats what was not acknowledged with its clientMessageId."""

    def __init__(self, client: RestClient, channel: str) -> None:
        super().__init__(daemon=True)
        self._client, self._channel = client, channel
        self._ends = threading.Event()
        self.acknowledged: dict[str, int] = {}
        self.repeated = 0

    def run(self) -> None:
        for number in itertools.count():
            if self._ends.is_set():
                return
            self._post(f"m-{number}")
            time.sleep(0.05)

    def _post(self, message_id: str) -> None:
        path = f"{self._client.rest_url}/v1/channels/{self._channel}/messages"
        while True:
            try:
                answer = self._client.http.post(
                    path, json={"text": message_id, "clientMessageId": message_id}
                )
            except httpx.TransportError:
                self.repeated += 1
                continue
            if answer.status_code in {200, 201}:
                self.acknowledged[message_id] = answer.json()["seq"]
                return
            assert answer.status_code in {429, 500, 502, 503, 504}, answer.text
            self.repeated += 1

    def end(self) -> None:
        self._ends.set()
        self.join(60)
        assert not self.is_alive()


def test_nothing_acknowledged_is_lost_while_each_stack_is_redeployed(
    alice: RestClient,
    bob: RestClient,
    connect: Callable[..., AbstractContextManager[Socket]],
    redeploy: Redeploy,
) -> None:
    channel = alice.create_channel("bob", mode="off")
    with alice.again() as client, connect(bob, [channel]) as socket:
        writer = Writer(client, channel)
        writer.start()
        socket.wait_for_events(channel, 3)
        for stack in ("rest", "data", "workers", "websocket"):
            before = len(writer.acknowledged)
            redeploy(stack, CHANGED)
            eventually(lambda before=before: len(writer.acknowledged) > before + 3)  # type: ignore[misc]  # bound now
        writer.end()
        assert socket.ask("ping")["type"] == "pong"
        last = max(writer.acknowledged.values())
        socket.wait_for(
            lambda _frames: any(event["seq"] == last for event in socket.events(channel))
        )
        after = min(set(range(1, last + 1)) - {e["seq"] for e in socket.events(channel)}, default=0)
        missed = socket.ask("sync", channelId=channel, after=after - 1)["items"] if after else []

    log = bob.events(channel)
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    written = {event["clientMessageId"]: event["seq"] for event in log}
    assert written == writer.acknowledged
    seen = {event["seq"] for event in [*socket.events(channel), *missed]}
    assert seen >= set(range(1, min(len(log), (after or 1) + 99) + 1))


def test_a_call_that_waits_for_approval_outlives_the_deployment_of_each_stack(
    alice: RestClient, local_stack: LocalStack, redeploy: Redeploy
) -> None:
    channel = alice.create_channel(mode="always")
    alice.call("PATCH", f"/channels/{channel}", 200, json={"agent": {"tools": ["notes.add"]}})
    text = f"milk-{uuid4()}"
    alice.post(channel, f"note: {text}")
    notes = local_stack.demo_notes_url()
    assert notes is not None

    def of_type(event_type: str) -> list[Json]:
        return [event for event in alice.events(channel) if event["type"] == event_type]

    eventually(lambda: of_type("tool.requested") != [], REPLY_TIMEOUT)
    for stack in ("rest", "data", "workers", "websocket"):
        redeploy(stack, CHANGED)
    call_id = of_type("tool.requested")[0]["data"]["callId"]
    path = f"/channels/{channel}/tools/{call_id}/decision"
    alice.call("POST", path, 200, json={"decision": "approve"})
    eventually(lambda: len(of_type("message.created")) == 2, REPLY_TIMEOUT)

    written = [each for each in httpx.get(notes).json()["notes"] if text in each["text"]]
    assert [each["times"] for each in written] == [1]
