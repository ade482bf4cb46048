"""The rules of the handshake."""
