"""Tools, and who says whether they are called."""

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from commons.records.tool import ChannelTool
from rest_api.composition import Services
from rest_api.requests import body_of, caller_of, channel_id_of
from rest_api.responses import json_response, shown_response
from rest_api.schemas import DecideCall, Tool, ToolList


def add_routes(app: APIGatewayRestResolver, services: Services) -> None:
    @app.get("/v1/tools")
    def list_tools() -> Response[str]:
        caller_of(app.current_event)
        tools = [_view(tool) for tool in services.catalogue.offered()]
        return json_response(200, ToolList(items=tools))

    @app.post("/v1/channels/<channel_id>/tools/<call_id>/decision")
    def decide_call(channel_id: str, call_id: str) -> Response[str]:
        caller = caller_of(app.current_event)
        request = body_of(app.current_event, DecideCall)
        shown = services.decisions.decide(
            channel_id_of(channel_id),
            caller,
            call_id,
            request.decision,
            request.arguments_digest,
        )
        return shown_response(200, shown)


def _view(tool: ChannelTool) -> Tool:
    return Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=dict(tool.input_schema),
        approval=tool.approval,
        read_only=tool.read_only,
        idempotent=tool.idempotent,
    )
