"""Appends a message that came by WebSocket."""
