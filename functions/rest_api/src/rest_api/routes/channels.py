"""Channels, and what concerns a channel as a whole."""

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from rest_api.composition import Services
from rest_api.requests import (
    body_of,
    caller_and_query_of,
    caller_of,
    channel_id_of,
    header_of,
)
from rest_api.responses import no_content, shown_response
from rest_api.schemas import (
    MAX_IDEMPOTENCY_KEY,
    ChannelPage,
    CreateChannel,
    EventsQuery,
    MarkRead,
    PageQuery,
    PresencePage,
    UpdateChannel,
)


def add_routes(app: APIGatewayRestResolver, services: Services) -> None:
    @app.post("/v1/channels")
    def create_channel() -> Response[str]:
        created = services.channels.create(
            caller_of(app.current_event),
            body_of(app.current_event, CreateChannel),
            idempotency_key=header_of(
                app.current_event, "Idempotency-Key", max_length=MAX_IDEMPOTENCY_KEY
            ),
        )
        return shown_response(200 if created.replayed else 201, created.channel)

    @app.get("/v1/channels")
    def list_channels() -> Response[str]:
        caller, query = caller_and_query_of(app.current_event, PageQuery)
        scope = f"channels:{caller.user_id}"
        page = services.channels.page(
            caller,
            limit=query.limit,
            after=services.cursors.decode_list(scope, query.cursor),
        )
        return shown_response(
            200,
            page.map(
                lambda page: ChannelPage(
                    items=page.items,
                    next_cursor=services.cursors.encode_list(scope, page.next_after),
                )
            ),
        )

    @app.get("/v1/channels/<channel_id>")
    def get_channel(channel_id: str) -> Response[str]:
        caller = caller_of(app.current_event)
        return shown_response(200, services.channels.get(channel_id_of(channel_id), caller))

    @app.patch("/v1/channels/<channel_id>")
    def update_channel(channel_id: str) -> Response[str]:
        caller = caller_of(app.current_event)
        request = body_of(app.current_event, UpdateChannel)
        return shown_response(
            200, services.channels.update(channel_id_of(channel_id), caller, request)
        )

    @app.delete("/v1/channels/<channel_id>")
    def delete_channel(channel_id: str) -> Response[str]:
        services.channels.delete(channel_id_of(channel_id), caller_of(app.current_event))
        return no_content()

    @app.get("/v1/channels/<channel_id>/events")
    def list_events(channel_id: str) -> Response[str]:
        caller, query = caller_and_query_of(app.current_event, EventsQuery)
        return shown_response(
            200, services.reading.events(channel_id_of(channel_id), caller, query)
        )

    @app.put("/v1/channels/<channel_id>/read")
    def mark_read(channel_id: str) -> Response[str]:
        caller = caller_of(app.current_event)
        request = body_of(app.current_event, MarkRead)
        services.read_marks.mark(channel_id_of(channel_id), caller, request.seq)
        return no_content()

    @app.get("/v1/channels/<channel_id>/presence")
    def list_presence(channel_id: str) -> Response[str]:
        caller, query = caller_and_query_of(app.current_event, PageQuery)
        channel_id = channel_id_of(channel_id)
        scope = f"presence:{channel_id}"
        page = services.presence.page(
            channel_id,
            caller,
            limit=query.limit,
            after=services.cursors.decode_list(scope, query.cursor),
        )
        return shown_response(
            200,
            page.map(
                lambda page: PresencePage(
                    items=page.items,
                    next_cursor=services.cursors.encode_list(scope, page.next_after),
                )
            ),
        )
