"""Puts the services together: the one place that knows what each needs."""

from commons.auth.deferred import deferred_verifier
from commons.services import base
from commons.services.connections import ConnectionsService
from commons.services.tickets import TicketsService
from websocket_connect.gateway import ApiGatewayProbe
from websocket_connect.services.admission import AdmissionService
from websocket_connect.settings import ConnectSettings


def build_admission(settings: ConnectSettings) -> AdmissionService:
    """The deployed one."""
    storage = base.default_repository()
    probe = ApiGatewayProbe(settings.websocket_callback_url)
    return AdmissionService(
        storage,
        verify_token=deferred_verifier(settings),
        allow_token_in_query=settings.allow_token_in_query,
        allowed_origins=settings.origins,
        tickets=TicketsService(storage),
        connections=ConnectionsService(storage, probe=probe),
    )
