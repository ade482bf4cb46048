"""Messages of a channel."""

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from commons.schemas.message import PostMessage
from commons.wire import from_wire
from rest_api.composition import Services
from rest_api.requests import (
    body_of,
    caller_and_query_of,
    caller_of,
    channel_id_of,
    decoded,
    seq_of,
)
from rest_api.responses import accepted, no_content, shown_response
from rest_api.schemas import EditMessage, MessagesQuery, ReactionPath


def add_routes(app: APIGatewayRestResolver, services: Services) -> None:
    @app.post("/v1/channels/<channel_id>/messages")
    def post_message(channel_id: str) -> Response[str]:
        caller = caller_of(app.current_event)
        message = body_of(app.current_event, PostMessage)
        services.post_rate.take(caller.user_id)
        posted = services.messages.post(channel_id_of(channel_id), caller, message)
        if posted.duplicate:
            return shown_response(200, posted.shown, {"Idempotent-Replayed": "true"})
        return shown_response(201, posted.shown)

    @app.get("/v1/channels/<channel_id>/messages")
    def list_messages(channel_id: str) -> Response[str]:
        caller, query = caller_and_query_of(app.current_event, MessagesQuery)
        return shown_response(
            200, services.reading.messages(channel_id_of(channel_id), caller, query)
        )

    @app.get("/v1/channels/<channel_id>/messages/<seq>")
    def get_message(channel_id: str, seq: str) -> Response[str]:
        caller = caller_of(app.current_event)
        return shown_response(
            200, services.reading.message(channel_id_of(channel_id), caller, seq_of(seq))
        )

    @app.patch("/v1/channels/<channel_id>/messages/<seq>")
    def edit_message(channel_id: str, seq: str) -> Response[str]:
        caller = caller_of(app.current_event)
        text = body_of(app.current_event, EditMessage).text
        return shown_response(
            200, services.edits.edit(channel_id_of(channel_id), caller, seq_of(seq), text)
        )

    @app.delete("/v1/channels/<channel_id>/messages/<seq>")
    def delete_message(channel_id: str, seq: str) -> Response[str]:
        caller = caller_of(app.current_event)
        services.deletions.delete(channel_id_of(channel_id), caller, seq_of(seq))
        return no_content()

    @app.put("/v1/channels/<channel_id>/messages/<seq>/reactions/<emoji>")
    def add_reaction(channel_id: str, seq: str, emoji: str) -> Response[str]:
        caller = caller_of(app.current_event)
        services.reactions.add(channel_id_of(channel_id), caller, seq_of(seq), _emoji(emoji))
        return no_content()

    @app.delete("/v1/channels/<channel_id>/messages/<seq>/reactions/<emoji>")
    def remove_reaction(channel_id: str, seq: str, emoji: str) -> Response[str]:
        caller = caller_of(app.current_event)
        services.reactions.remove(channel_id_of(channel_id), caller, seq_of(seq), _emoji(emoji))
        return no_content()

    @app.post("/v1/channels/<channel_id>/messages/<seq>/regenerate")
    def regenerate(channel_id: str, seq: str) -> Response[str]:
        caller = caller_of(app.current_event)
        services.generations.regenerate(channel_id_of(channel_id), caller.user_id, seq_of(seq))
        return accepted()


def _emoji(segment: str) -> str:
    return from_wire(ReactionPath, {"emoji": decoded("emoji", segment)}).emoji
