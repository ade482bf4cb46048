"""What the page is told, in a `<meta>` of its own."""

from commons.schemas import BaseSchema


class HostedSignIn(BaseSchema):
    url: str
    client_id: str


class PageSettings(BaseSchema):
    """Absent: that way of signing in is not offered."""

    base_path: str
    websocket_url: str
    hosted_sign_in: HostedSignIn | None = None
    demo_sign_in_url: str | None = None
