"""How a name that means the wrong thing is noticed."""

import copy
from typing import Any

import pytest
from tools.check_templates import violations
from tools.templates import Template


def variables(body: dict[str, Any], function: str) -> dict[str, Any]:
    found: dict[str, Any] = body["Resources"][function]["Properties"]["Environment"]["Variables"]
    return found


@pytest.mark.parametrize(
    ("stack", "function", "variable", "value"),
    [
        ("rest", "RestApiFunction", "CHANNELS_TABLE", {"Ref": "DataConnectionsTableName"}),
        ("rest", "RestApiFunction", "CHANNELS_TABLE", {"Ref": "DataChannelsTableArn"}),
        ("rest", "RestApiFunction", "POST_RATE", {"Ref": "ThrottleRate"}),
        ("rest", "RestAuthorizerFunction", "JWT_AUDIENCE", {"Ref": "DataJwtIssuer"}),
        ("websocket", "WebsocketConnectFunction", "ALLOW_TOKEN_IN_QUERY", "true"),
        ("websocket", "WebsocketSessionFunction", "WEBSOCKET_CALLBACK_URL", {"Ref": "Stage"}),
        ("workers", "WorkersAgentFunction", "CHANNEL_TOKENS_PER_DAY", {"Ref": "UserTokensPerDay"}),
        ("workers", "WorkersAgentFunction", "MODEL_IDLE_TIMEOUT", {"Ref": "ModelTotalTimeout"}),
        (
            "workers",
            "WorkersDeliveryFunction",
            "PARKING_QUEUE_URL",
            {"Ref": "DispatcherParkingQueue"},
        ),
    ],
)
def test_a_variable_that_is_something_else_is_noticed(
    templates: dict[str, Template], stack: str, function: str, variable: str, value: object
) -> None:
    body = copy.deepcopy(dict(templates[stack].body))
    variables(body, function)[variable] = value
    assert any(f"gets as {variable}" in each for each in violations(Template(stack, body)))


@pytest.mark.parametrize(
    ("stack", "parameter", "key", "value"),
    [
        ("data", "ChannelsTableNameParameter", "Value", {"Ref": "ConnectionsTable"}),
        (
            "data",
            "ChatEventsStreamArnParameter",
            "Value",
            {"Fn::GetAtt": ["ChannelsTable", "StreamArn"]},
        ),
        (
            "data",
            "ChannelsTableArnParameter",
            "Value",
            {"Fn::GetAtt": ["ChannelsTable", "StreamArn"]},
        ),
        (
            "data",
            "ChannelsTableArnParameter",
            "Name",
            {"Fn::Sub": "/chat/${Stage}/data/channel-table-arn"},
        ),
        ("data", "JwtAudienceParameter", "Value", {"Ref": "JwtIssuer"}),
        (
            "websocket",
            "CallbackUrlParameter",
            "Value",
            {"Fn::Sub": "https://${WebSocketApi}.execute-api.${AWS::Region}.amazonaws.com"},
        ),
        ("websocket", "ApiIdParameter", "Value", {"Ref": "WebsocketConnectFunction"}),
        ("workers", "AllowedModelsParameter", "Value", {"Ref": "ModelArns"}),
        (
            "workers",
            "AgentQueueArnParameter",
            "Value",
            {"Fn::GetAtt": ["AgentDeadLetterQueue", "Arn"]},
        ),
        ("rest", "UrlParameter", "Name", {"Fn::Sub": "/chat/${Stage}/websocket/url"}),
    ],
)
def test_a_published_name_that_is_something_else_is_noticed(
    templates: dict[str, Template], stack: str, parameter: str, key: str, value: object
) -> None:
    body = copy.deepcopy(dict(templates[stack].body))
    body["Resources"][parameter]["Properties"][key] = value
    assert violations(Template(stack, body))
