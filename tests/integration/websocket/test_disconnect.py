from collections.abc import Callable

from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.integration.websocket.conftest import Join, Open
from tests.integration.websocket.gateway import (
    disconnect_event,
    error_of,
    frame_of,
    message_event,
)

from commons.dal import IRepository, Item
from commons.services.connections import ConnectionsService
from websocket_disconnect import handler


def test_a_closed_connection_is_forgotten_with_its_subscriptions(
    lambda_context: LambdaContext,
    join: Join,
    open_connection: Open,
    channel_id: str,
    stored: Callable[[str], list[Item]],
) -> None:
    join("alice", channel_id)
    open_connection("c1", channels=(channel_id,))
    open_connection("c2", channels=(channel_id,))

    handler.lambda_handler(disconnect_event("c1"), lambda_context)

    assert [row["connection_id"] for row in stored(channel_id)] == ["c2"]
    assert [row["connection_id"] for row in stored("user#alice")] == ["c2"]
    assert stored("conn#c1") == []


def test_a_connection_that_is_not_known_is_no_error(lambda_context: LambdaContext) -> None:
    assert handler.lambda_handler(disconnect_event("c1"), lambda_context) == {"statusCode": 200}


def test_a_frame_that_names_the_route_forgets_nobody(
    lambda_context: LambdaContext, open_connection: Open, storage: IRepository
) -> None:
    open_connection("c1")
    event = message_event("c1", {"action": "$disconnect", "requestId": "r1"}, route="$disconnect")

    response = handler.lambda_handler(event, lambda_context)

    assert error_of(response)["status"] == 404
    assert frame_of(response)["requestId"] == "r1"
    assert ConnectionsService(storage).find("c1") is not None
