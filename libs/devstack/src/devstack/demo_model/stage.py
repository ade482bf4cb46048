"""An answer on its way, in the words of each protocol."""

from abc import ABC, abstractmethod
from typing import Final

from devstack.demo_model import bedrock, openai
from devstack.demo_model.behaviour import Behaviour
from devstack.demo_model.connection import Connection
from devstack.demo_model.script import Answer, Ask

ERROR_MARK: Final = "demo-model-internal-error"
"""Stands in every error that the demo model makes up, so that a test can look for it at a client."""


class Stage(ABC):
    content_type: str

    def __init__(self, connection: Connection, ask: Ask) -> None:
        self.connection = connection
        self.ask = ask

    async def refuse(self, status: int, retry_after: int | None) -> None:
        headers, body = self.error(status, f"{ERROR_MARK} {status}")
        if retry_after is not None:
            headers["retry-after"] = str(retry_after)
        await self.connection.answer(status, body, headers)

    async def answer_whole(self, spoken: Answer) -> None:
        await self.connection.answer(200, self.whole(spoken))

    async def open(self) -> None:
        await self.connection.open_stream(self.content_type)
        await self.connection.stream(self.opening())

    async def say(self, text: str) -> None:
        await self.connection.stream(self.word(text))

    async def close(self, spoken: Answer) -> None:
        await self.connection.stream(self.closing(spoken))
        await self.connection.close_stream()

    async def fail(self, behaviour: Behaviour) -> None:
        await self.connection.stream(self.exception(behaviour))
        await self.connection.close_stream()

    @abstractmethod
    def error(self, status: int, message: str) -> tuple[dict[str, str], bytes]: ...

    @abstractmethod
    def opening(self) -> bytes: ...

    @abstractmethod
    def word(self, text: str) -> bytes: ...

    @abstractmethod
    def closing(self, spoken: Answer) -> bytes: ...

    @abstractmethod
    def exception(self, behaviour: Behaviour) -> bytes: ...

    @abstractmethod
    def whole(self, spoken: Answer) -> bytes: ...


class BedrockStage(Stage):
    content_type = bedrock.STREAM_CONTENT_TYPE

    def error(self, status: int, message: str) -> tuple[dict[str, str], bytes]:
        return bedrock.error(status, message)

    def opening(self) -> bytes:
        return bedrock.opening()

    def word(self, text: str) -> bytes:
        return bedrock.word(text)

    def closing(self, spoken: Answer) -> bytes:
        return bedrock.closing(spoken)

    def exception(self, behaviour: Behaviour) -> bytes:
        return bedrock.stream_exception(behaviour.exception, ERROR_MARK)

    def whole(self, spoken: Answer) -> bytes:
        return bedrock.whole(spoken)


class OpenAIStage(Stage):
    content_type = openai.STREAM_CONTENT_TYPE

    def error(self, status: int, message: str) -> tuple[dict[str, str], bytes]:
        return openai.error(status, message)

    def opening(self) -> bytes:
        return openai.opening(self.ask)

    def word(self, text: str) -> bytes:
        return openai.word(self.ask, text)

    def closing(self, spoken: Answer) -> bytes:
        return openai.closing(self.ask, spoken)

    def exception(self, behaviour: Behaviour) -> bytes:
        return openai.stream_exception(behaviour.exception, ERROR_MARK)

    def whole(self, spoken: Answer) -> bytes:
        return openai.whole(self.ask, spoken)
