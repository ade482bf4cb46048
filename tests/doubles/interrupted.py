"""Storage in which something else happens right before, or right after, a transaction."""

from collections.abc import Callable, Sequence

from tests.doubles.repository import InMemoryRepository
from tests.doubles.tables import InMemoryTables

from commons.dal import Write


class InterruptedRepository(InMemoryRepository):
    """Lets something else happen right before or after its next transaction."""

    def __init__(self, tables: InMemoryTables | None = None) -> None:
        super().__init__(tables)
        self.before: Callable[[], object] | None = None
        self.after: Callable[[], object] | None = None

    def transact(self, writes: Sequence[Write]) -> None:
        before, after = self.before, self.after
        self.before = self.after = None
        if before is not None:
            before()
        super().transact(writes)
        if after is not None:
            after()
