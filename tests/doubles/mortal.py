"""A worker that dies: at any call to storage, in the middle of a model's answer, during a call."""

import threading
from collections.abc import AsyncGenerator, Callable

from tests.doubles.faults import FailingRepository

from commons.dal import IRepository
from commons.records.tool import ToolCallRecord
from workers_agent.model import Chunk, IModel, Prompt
from workers_agent.schemas import ToolAnswer
from workers_agent.tool_function import IToolFunction


class WorkerDiedError(BaseException):
    """Nothing of the worker's own catches it, as nothing catches a process's end."""


class Life:
    """Ends at its n-th moment, and is over from then on.

    Args:
        moments: how many there are; None: it never ends.
    """

    def __init__(self, moments: int | None) -> None:
        self._left = moments
        self._lock = threading.Lock()

    @property
    def is_over(self) -> bool:
        return self._left is not None and self._left <= 0

    def moment(self) -> None:
        """Passes one.

        Raises:
            WorkerDiedError: it was the last, or comes after that.
        """
        with self._lock:
            if self._left is None:
                return
            self._left -= 1
            if self._left <= 0:
                raise WorkerDiedError


class MortalRepository(FailingRepository):
    """Storage as one worker sees it: it may die before a call, or after it without the answer."""

    def __init__(self, inner: IRepository, life: Life) -> None:
        super().__init__(inner)
        self._life = life

    def _call[Answer](self, name: str, call: Callable[[], Answer]) -> Answer:
        self._life.moment()
        answer = super()._call(name, call)
        self._life.moment()
        return answer


class MortalModel:
    """IModel: the worker may die before each piece."""

    def __init__(self, inner: IModel, life: Life) -> None:
        self._inner = inner
        self._life = life

    async def stream(self, prompt: Prompt) -> AsyncGenerator[Chunk]:
        async for chunk in self._inner.stream(prompt):
            self._life.moment()
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class MortalTools:
    """IToolFunction: the worker may die before a call reaches the server, or before its answer."""

    def __init__(self, inner: IToolFunction, life: Life) -> None:
        self._inner = inner
        self._life = life

    async def call(self, call: ToolCallRecord) -> ToolAnswer:
        self._life.moment()
        answer = await self._inner.call(call)
        self._life.moment()
        return answer
