import json

from aws_lambda_powertools.utilities.typing import LambdaContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import error_of, frame_of, message_event
from tests.support.thoroughness import SEQUENCES

from commons.websocket.frame_handler import SocketResponse
from websocket_sendmessage import handler as sendmessage_handler
from websocket_session import handler as session_handler

ACTIONS = [
    "sendmessage",
    "subscribe",
    "unsubscribe",
    "sync",
    "typing",
    "read",
    "cancel",
    "authenticate",
    "ping",
]
FIELDS = [
    "channelId",
    "text",
    "clientMessageId",
    "replyTo",
    "metadata",
    "after",
    "limit",
    "typing",
    "seq",
    "token",
    "heads",
    "requestId",
    "else",
]
CHANNEL = "here a channel's id is put"

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-1, 3)
    | st.floats()
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
frames = st.fixed_dictionaries(
    {"action": st.sampled_from(ACTIONS), "channelId": st.just(CHANNEL) | values},
    optional={field: values for field in FIELDS if field != "channelId"},
)


@settings(
    max_examples=SEQUENCES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(frame=frames)
def test_no_frame_makes_a_function_stumble(
    frame: dict[str, object],
    join: Join,
    open_connection: Open,
    channel_id: str,
    lambda_context: LambdaContext,
) -> None:
    join("alice", channel_id)
    open_connection("c1")
    body = json.dumps(frame).replace(CHANNEL, channel_id)
    handler = sendmessage_handler if frame["action"] == "sendmessage" else session_handler

    response: SocketResponse = handler.lambda_handler(message_event("c1", body), lambda_context)

    assert response["statusCode"] == 200
    if "body" in response and frame_of(response)["type"] == "error":
        assert 400 <= error_of(response)["status"] < 500
