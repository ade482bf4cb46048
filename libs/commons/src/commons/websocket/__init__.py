"""The edge of the WebSocket API."""
