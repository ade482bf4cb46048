"""Serves every WebSocket action but sendmessage."""
