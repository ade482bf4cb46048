"""What the API answers is what its description says, whatever it is asked (schemathesis)."""

from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Client, RecordingBroadcaster
from tests.integration.rest_api.wsgi import application

from commons.schemas.event import MessageCreatedData, Sender
from commons.services.event_log import Draft, EventLogService
from rest_api.app import RestApi
from rest_api.composition import build_services
from rest_api.description.examples import CHANNEL_ID
from rest_api.settings import Settings

TOKEN = "a-token"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
REAL_MESSAGES = 5
"""Numbers of the prepared channel: messages, the agent's reply, a deleted one, none at all."""


def _prepared_api() -> RestApi:
    """An API with the channel of the description's examples: a few messages and a reply."""
    repository = InMemoryRepository()
    config = Settings(
        websocket_callback_url="http://127.0.0.1:9",
        allowed_models="demo-model,other",
        cursor_secret_arn="arn:unused",
    )
    services = build_services(
        config,
        repository=repository,
        broadcaster=RecordingBroadcaster(),
        cursor_secret=lambda: b"a secret of the tests",
    )
    api = RestApi(services, allowed_origins=[])
    alice = Client(api)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rest_api.services.channels.new_channel_id", lambda: CHANNEL_ID)
        alice.new_channel("bob")
    alice.say(CHANNEL_ID, "a question", metadata={"k": 1})
    EventLogService(repository).append(
        CHANNEL_ID,
        lambda: Draft(
            sender=Sender(id="#agent", kind="agent"),
            data=MessageCreatedData(text="a reply", reply_to=1, generation=1),
        ),
    )
    alice.say(CHANNEL_ID, "deleted")
    alice.delete(f"/v1/channels/{CHANNEL_ID}/messages/3")
    return api


class _FreshApi:
    """The prepared API as a WSGI application, as new whenever it is told so."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._application = application(_prepared_api(), token=TOKEN)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._application(environ, start_response)


app = _FreshApi()
schema = schemathesis.openapi.from_wsgi("/openapi.json", app)


@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_answers_are_as_described(case: schemathesis.Case[Any]) -> None:
    app.renew()
    if "channelId" in case.path_parameters:
        case.path_parameters["channelId"] = CHANNEL_ID
    if isinstance(seq := case.path_parameters.get("seq"), int):
        case.path_parameters["seq"] = 1 + seq % REAL_MESSAGES

    case.call_and_validate(checks=CHECKS, headers={"Authorization": f"Bearer {TOKEN}"})
