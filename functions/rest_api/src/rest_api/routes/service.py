"""What is not about a channel: health, the caller, tickets, the API's own description."""

from importlib.resources import files

from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response

from rest_api.composition import Services
from rest_api.requests import caller_of, refuse_query
from rest_api.responses import JSON, html_response, json_response
from rest_api.schemas import Health, Me
from rest_api.version import VERSION


def add_routes(app: APIGatewayRestResolver, services: Services) -> None:
    @app.get("/v1/health")
    def get_health() -> Response[str]:
        refuse_query(app.current_event)
        return json_response(200, Health(version=VERSION))

    @app.get("/v1/me")
    def get_me() -> Response[str]:
        caller = caller_of(app.current_event)
        return json_response(200, Me(user_id=caller.user_id, name=caller.name))

    @app.post("/v1/tickets")
    def create_ticket() -> Response[str]:
        return json_response(201, services.tickets.issue(caller_of(app.current_event)))

    @app.get("/openapi.json")
    def get_openapi() -> Response[str]:
        refuse_query(app.current_event)
        return Response(status_code=200, content_type=JSON, body=_packaged("openapi.json"))

    @app.get("/asyncapi.json")
    def get_asyncapi() -> Response[str]:
        refuse_query(app.current_event)
        return Response(status_code=200, content_type=JSON, body=_packaged("asyncapi.json"))

    @app.get("/swagger")
    def get_swagger() -> Response[str]:
        refuse_query(app.current_event)
        return html_response(_swagger_page())


def _packaged(path: str) -> str:
    return files("rest_api").joinpath(path).read_text(encoding="utf-8")


def _swagger_page() -> str:
    # Imported here: only this page needs the machinery, and it takes long to import.
    from aws_lambda_powertools.event_handler.openapi.swagger_ui import (  # noqa: PLC0415
        generate_swagger_html,
    )

    assets = files("aws_lambda_powertools.event_handler.openapi.swagger_ui")
    return generate_swagger_html(
        spec=_packaged("openapi.json").replace("</", "<\\/"),
        swagger_js=assets.joinpath("swagger-ui-bundle.min.js").read_text(encoding="utf-8"),
        swagger_css=assets.joinpath("swagger-ui.min.css").read_text(encoding="utf-8"),
        swagger_base_url="",
        oauth2_config=None,
        persist_authorization=True,
    )
