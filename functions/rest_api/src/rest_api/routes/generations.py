"""The agent's replies while they are open, and what they have cost."""

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from rest_api.composition import Services
from rest_api.requests import caller_and_query_of, caller_of, channel_id_of, optional_body_of
from rest_api.responses import accepted, shown_response
from rest_api.schemas import (
    CancelGenerations,
    NoQuery,
    OpenGenerationList,
    UsagePage,
    UsageQuery,
)


def add_routes(app: APIGatewayRestResolver, services: Services) -> None:
    @app.post("/v1/channels/<channel_id>/generations/cancel")
    def cancel_generations(channel_id: str) -> Response[str]:
        caller = caller_of(app.current_event)
        request = optional_body_of(app.current_event, CancelGenerations)
        services.generations.cancel(channel_id_of(channel_id), caller.user_id, request.reply_to)
        return accepted()

    @app.get("/v1/channels/<channel_id>/generations")
    def list_generations(channel_id: str) -> Response[str]:
        caller, _query = caller_and_query_of(app.current_event, NoQuery)
        shown = services.open_generations.of_channel(channel_id_of(channel_id), caller)
        return shown_response(200, shown.map(lambda items: OpenGenerationList(items=items)))

    @app.get("/v1/channels/<channel_id>/usage")
    def get_usage(channel_id: str) -> Response[str]:
        caller, query = caller_and_query_of(app.current_event, UsageQuery)
        channel_id = channel_id_of(channel_id)
        scope = f"usage:{channel_id}:{query.from_}:{query.to}"
        page = services.usage.page(
            channel_id,
            caller,
            first_day=query.from_,
            last_day=query.to,
            limit=query.limit,
            after=services.cursors.decode_list(scope, query.cursor),
        )
        return shown_response(
            200,
            page.map(
                lambda page: UsagePage(
                    items=page.items,
                    next_cursor=services.cursors.encode_list(scope, page.next_after),
                )
            ),
        )
