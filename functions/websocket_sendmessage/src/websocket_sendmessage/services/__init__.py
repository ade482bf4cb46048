"""The rules of posting by WebSocket."""
