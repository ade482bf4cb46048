"""What a channel and a user may spend in a day, in tokens."""

from datetime import timedelta
from typing import Final

from commons import keys
from commons.clock import now
from commons.dal import IRepository, Key, Table, Update
from commons.records.base import StoredModel
from commons.services.base import BaseService

_KEPT: Final = timedelta(days=8)


class Spent(StoredModel):
    """A row `(budget#scope#subject, day)`."""

    tokens: int = 0


class BudgetsService(BaseService):
    """Counts tokens by UTC day.

    Args:
        channel_tokens: a channel's for a day; 0 sets no limit.
        user_tokens: those of who asks; 0 sets no limit.
    """

    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        channel_tokens: int = 0,
        user_tokens: int = 0,
    ) -> None:
        super().__init__(repository)
        self._limits = {"channel": channel_tokens, "user": user_tokens}

    def is_spent(self, channel_id: str, user_id: str) -> bool:
        """Whether one of the two has nothing left today.

        Replies asked for at once may pass a limit by what they cost together.
        """
        limited = {
            scope: subject
            for scope, subject in (("channel", channel_id), ("user", user_id))
            if self._limits[scope]
        }
        return any(
            self._spent(scope, subject) >= self._limits[scope] for scope, subject in limited.items()
        )

    def charge(self, channel_id: str, user_id: str, tokens: int) -> None:
        """Adds to what both have spent today."""
        if tokens <= 0:
            return
        expires_at = int((now() + _KEPT).timestamp())
        update = Update(add={"tokens": tokens}, set={"ttl": expires_at})
        for key in (_key("channel", channel_id), _key("user", user_id)):
            self.repository.update(Table.CHANNELS, key, update)

    def _spent(self, scope: str, subject: str) -> int:
        item = self.repository.find(Table.CHANNELS, _key(scope, subject), consistent=True)
        return Spent.model_validate(item or {}).tokens


def _key(scope: str, subject: str) -> Key:
    return keys.budget_key(scope, subject, now().date().isoformat())
