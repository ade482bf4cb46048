"""The rules that two or more functions share."""

from commons.services.base import BaseService

__all__ = ["BaseService"]
