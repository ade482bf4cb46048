"""Rows as the tables hold them, shared by two or more functions."""

from commons.records.base import StoredModel

__all__ = ["StoredModel"]
