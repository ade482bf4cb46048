"""What goes over the wire, shared by REST, WebSocket and the workers."""

from commons.schemas.base import BaseSchema

__all__ = ["BaseSchema"]
