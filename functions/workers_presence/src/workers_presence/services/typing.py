"""Tells channels what users said of their typing when it was too early to pass it on."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from commons.dal import IRepository
from commons.errors import UnavailableError
from commons.observability import log
from commons.services.base import BaseService
from commons.services.typing_notices import REPEAT_MILLISECONDS, TypingNoticesService
from workers_presence.schemas import Check

AGAIN_SECONDS: Final = REPEAT_MILLISECONDS // 1_000

_AT_ONCE: Final = 16


class TypingChecksService(BaseService):
    """Does checks of who types."""

    def __init__(
        self, repository: IRepository | None = None, *, notices: TypingNoticesService
    ) -> None:
        super().__init__(repository)
        self._notices = notices
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="typing")

    def settle(self, checks: Iterable[Check]) -> dict[Check, int]:
        """Returns those that have to come again, each with the seconds until then."""
        checks = list(checks)
        is_settled = self._threads.map(self._settle, checks)
        return {
            check: AGAIN_SECONDS
            for check, settled in zip(checks, is_settled, strict=True)
            if not settled
        }

    def _settle(self, check: Check) -> bool:
        try:
            return self._notices.tell_wanted(*check.user)
        except UnavailableError as error:
            log.warning("typing untold", error=type(error).__name__)
            return False
