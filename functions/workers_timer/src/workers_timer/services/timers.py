"""Finds the timers that are due and has each done by its kind."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from commons import keys
from commons.clock import epoch_seconds
from commons.dal import IRepository, Query, SortBetween, Table
from commons.dynamodb.exceptions import RepositoryError
from commons.errors import UnavailableError
from commons.observability import count_unhandled, log, metrics
from commons.records.timer import TimerKind, TimerRecord
from commons.services.base import BaseService

RUN_SECONDS: Final = 45.0
"""What is not begun by then is found by the next run: one begins every minute."""

FIRST_PAUSE_SECONDS: Final = 60
MAX_PAUSE_SECONDS: Final = 3_600
"""A timer that fails is tried again after a minute, twice as long each time, an hour at most."""

_PAGE: Final = 100
_AT_ONCE: Final = 8


class ITimerKind(Protocol):
    """What is done when a timer of one kind is due."""

    @property
    def kind(self) -> TimerKind: ...

    def handle(self, timer: TimerRecord) -> None:
        """Does it. Runs may overlap and repeat: it does nothing where it is done already.

        Raises:
            RepositoryError: storage did not answer; it is tried again.
        """
        ...


class TimersService(BaseService):
    """Runs once a minute. A minute that was missed is made up for by the next.

    Args:
        kinds: each of another kind.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        kinds: Sequence[ITimerKind],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(repository)
        self._kinds: dict[str, ITimerKind] = {each.kind: each for each in kinds}
        self._clock = clock

    def run(self) -> None:
        """Does what is due by now. One query a shard where nothing is."""
        deadline = self._clock() + RUN_SECONDS
        done = failed = 0
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            for is_done in threads.map(lambda timer: self._take(timer, deadline), self._due()):
                done += is_done
                failed += not is_done
        log.info("timers", done=done, left=failed)

    def _due(self) -> Iterator[TimerRecord]:
        """Timers that are due, of each shard the oldest first.

        A run does not crash where storage does not answer: that would be told to a person, who
        has nothing to mend.
        """
        for shard in range(keys.TIMER_SHARDS):
            rows = self.repository.iterate(
                Query(
                    table=Table.CHANNELS,
                    partition=keys.timer_partition(shard),
                    sort=SortBetween(high=keys.timer_moment(epoch_seconds() + 1)),
                    limit=_PAGE,
                    consistent=True,
                )
            )
            try:
                yield from map(TimerRecord.model_validate, rows)
            except UnavailableError as error:
                log.warning("timers not read", shard=shard, error=type(error).__name__)
                count_unhandled()

    def _take(self, timer: TimerRecord, deadline: float) -> bool:
        if self._clock() > deadline:
            return False
        try:
            done = self._handle(timer)
            self.repository.transact(
                [timer.removal()] if done else [timer.removal(), _again(timer).write()]
            )
        except RepositoryError as error:
            # It stays due: the next run takes it.
            log.warning("timer not done", kind=timer.kind, error=type(error).__name__)
            return False
        return done

    def _handle(self, timer: TimerRecord) -> bool:
        kind = self._kinds.get(timer.kind)
        if kind is None:
            # A newer version wrote it, and will do it.
            log.warning("timer of an unknown kind", kind=timer.kind)
            return False
        try:
            kind.handle(timer)
        except RepositoryError:
            raise
        except Exception as error:  # noqa: BLE001 - one timer holds up no other
            log.error("timer failed", kind=timer.kind, error=type(error).__name__)
            count_unhandled()
            return False
        metrics.add_metric(name="TimerDone", unit="Count", value=1)
        return True


def _again(timer: TimerRecord) -> TimerRecord:
    pause = min(FIRST_PAUSE_SECONDS * 2**timer.tries, MAX_PAUSE_SECONDS)
    return timer.model_copy(update={"due": epoch_seconds() + pause, "tries": timer.tries + 1})
