"""Members of a channel."""

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from commons.wire import from_wire
from rest_api.composition import Services
from rest_api.requests import (
    body_of,
    caller_and_query_of,
    caller_of,
    channel_id_of,
    decoded,
)
from rest_api.responses import no_content, shown_response
from rest_api.schemas import MemberPage, MemberPath, PageQuery, PutMember


def add_routes(app: APIGatewayRestResolver, services: Services) -> None:
    @app.get("/v1/channels/<channel_id>/members")
    def list_members(channel_id: str) -> Response[str]:
        caller, query = caller_and_query_of(app.current_event, PageQuery)
        channel_id = channel_id_of(channel_id)
        scope = f"members:{channel_id}"
        page = services.members.page(
            channel_id,
            caller,
            limit=query.limit,
            after=services.cursors.decode_list(scope, query.cursor),
        )
        return shown_response(
            200,
            page.map(
                lambda page: MemberPage(
                    items=page.items,
                    next_cursor=services.cursors.encode_list(scope, page.next_after),
                )
            ),
        )

    @app.put("/v1/channels/<channel_id>/members/<user_id>")
    def put_member(channel_id: str, user_id: str) -> Response[str]:
        caller = caller_of(app.current_event)
        request = body_of(app.current_event, PutMember)
        member = services.members.put(
            channel_id_of(channel_id), caller, _user_id(user_id), request.role
        )
        return shown_response(200, member)

    @app.delete("/v1/channels/<channel_id>/members/<user_id>")
    def remove_member(channel_id: str, user_id: str) -> Response[str]:
        caller = caller_of(app.current_event)
        services.members.remove(channel_id_of(channel_id), caller, _user_id(user_id))
        return no_content()


def _user_id(segment: str) -> str:
    return from_wire(MemberPath, {"userId": decoded("userId", segment)}).user_id
