"""What is left to do when a connection was closed."""

import random
import time
from collections.abc import Callable
from typing import Final

from commons.dal import IRepository
from commons.errors import UnavailableError
from commons.observability import log
from commons.services.base import BaseService
from commons.services.connections import ConnectionsService

PAUSES_SECONDS: Final = (0.2, 0.8)
"""Before it is tried again, on top of what the SDK tries: half as long at least."""

PATIENCE_SECONDS: Final = 5.0
"""Once storage has taken that long, it is not tried again: the function has 15 s."""


class ForgettingService(BaseService):
    """Forgets connections.

    The gateway says once that a connection was closed, and looks at no answer. So what storage
    refuses is tried again here. What is left even then counts as online until a frame is sent to it,
    or until it expires.

    Args:
        clock: seconds that never go back.
        sleep: takes seconds.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        connections: ConnectionsService,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(repository)
        self._connections = connections
        self._clock = clock
        self._sleep = sleep

    def forget(self, connection_id: str) -> None:
        """Removes all that is known of the connection; nothing known is no error.

        Raises:
            StorageUnavailableError: storage did not serve it for long enough.
        """
        began = self._clock()
        for pause in PAUSES_SECONDS:
            try:
                self._connections.forget(connection_id)
            except UnavailableError as error:
                if self._clock() - began > PATIENCE_SECONDS:
                    raise
                log.warning("connection not forgotten yet", error=type(error).__name__)
                self._sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter
            else:
                return
        self._connections.forget(connection_id)
