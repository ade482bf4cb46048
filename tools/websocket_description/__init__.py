"""Makes the WebSocket API's AsyncAPI document; `python -m tools.websocket_description` writes it.

Here and not in a function: it describes the frames of several, and no function imports another.
"""
