"""Admits or refuses a WebSocket handshake."""
