"""What `poe chat` calls."""

import asyncio

from chat_client.errors import ChatError
from chat_client.session import ChatSession
from chat_client.terminal.once import Exit, Once
from chat_client.tokens import Token


def ask(
    rest_url: str,
    websocket_url: str,
    *,
    token: Token,
    text: str,
    channel_id: str | None,
    seconds: float,
) -> Exit:
    """Prints the agent's reply to one message on standard output."""

    async def question() -> Exit:
        session = ChatSession(rest_url, websocket_url, token=token)
        return await Once(session, seconds=seconds).ask(text, channel_id)

    return asyncio.run(question())


def talk(
    rest_url: str, websocket_url: str, *, token: Token, channel_id: str | None = None
) -> ChatError | None:
    """Full-screen until the user quits; answers what ended it otherwise. Needs the extra `tui`."""
    # Scripts that only ask do not pay for a screen.
    from chat_client.terminal.app import ChatApp  # noqa: PLC0415

    app = ChatApp(ChatSession(rest_url, websocket_url, token=token), channel_id)
    app.run()
    return app.failure
