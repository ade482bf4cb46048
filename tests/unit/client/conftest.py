"""A chat service in memory, and sessions with it."""

from collections.abc import AsyncGenerator, Callable

import pytest
from tests.support.fake_chat import FakeChat

from chat_client import Backoff, ChatSession, SessionSettings
from chat_client.tokens import Token

REST_URL = "http://chat.test"
QUICK = SessionSettings(
    open_seconds=5.0,
    answer_seconds=2.0,
    ping_seconds=60.0,
    backoff=Backoff(base=0.002, cap=0.02),
)
"""No wait of the product's: whatever a test waits for comes as fast as it can."""

type NewSession = Callable[..., ChatSession]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def chat() -> FakeChat:
    chat = FakeChat()
    chat.channel("room")
    return chat


@pytest.fixture
async def socket_url(chat: FakeChat) -> AsyncGenerator[str]:
    async with chat.serve() as url:
        yield url


@pytest.fixture
def new_session(chat: FakeChat, socket_url: str) -> NewSession:
    """Answers a session that is not open yet."""

    def session(
        *, token: Token = "a token", settings: SessionSettings = QUICK, url: str = socket_url
    ) -> ChatSession:
        return ChatSession(REST_URL, url, token=token, settings=settings, transport=chat.transport)

    return session
