"""What the WebSocket stack serves, after SAM has translated it."""

from typing import Any

import pytest
from tests.unit.stacks.translation import translate
from tools.templates import Template

from websocket_session.handler import ONE_WAY_ROUTES


@pytest.fixture
def websocket(templates: dict[str, Template]) -> dict[str, Any]:
    """The translated resources."""
    resources: dict[str, Any] = translate(templates["websocket"])["Resources"]
    return resources


def routes(websocket: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Properties of each route, by its logical id."""
    return {
        name: each["Properties"]
        for name, each in websocket.items()
        if each["Type"] == "AWS::ApiGatewayV2::Route"
    }


def test_a_route_answers_unless_the_function_posts_what_it_has_to_say(
    websocket: dict[str, Any],
) -> None:
    """A route with a response sends an answer to every frame, an empty one too."""
    answering = {
        each["RouteKey"]
        for each in routes(websocket).values()
        if "RouteResponseSelectionExpression" in each
    }
    silent = {each["RouteKey"] for each in routes(websocket).values()} - answering
    assert silent - {"$connect", "$disconnect"} == ONE_WAY_ROUTES


def test_a_route_that_answers_has_the_response_that_aws_needs(websocket: dict[str, Any]) -> None:
    answering = {
        name
        for name, each in routes(websocket).items()
        if "RouteResponseSelectionExpression" in each
    }
    responding = {
        each["Properties"]["RouteId"]["Ref"]
        for each in websocket.values()
        if each["Type"] == "AWS::ApiGatewayV2::RouteResponse"
    }
    assert responding == answering


def test_the_api_may_call_the_function_behind_each_route(websocket: dict[str, Any]) -> None:
    permitted = {
        each["Properties"]["SourceArn"]["Fn::Sub"][0].rpartition("/")[2]
        for each in websocket.values()
        if each["Type"] == "AWS::Lambda::Permission"
    }
    assert permitted == {each["RouteKey"] for each in routes(websocket).values()}


def test_a_changed_route_reaches_the_stage(websocket: dict[str, Any]) -> None:
    (stage,) = (
        each["Properties"]
        for each in websocket.values()
        if each["Type"] == "AWS::ApiGatewayV2::Stage"
    )
    assert stage["AutoDeploy"] is True
