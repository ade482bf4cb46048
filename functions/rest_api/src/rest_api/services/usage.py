"""What a channel's replies have cost."""

from dataclasses import dataclass
from typing import Final

from commons import keys
from commons.dal import IRepository, Query, SortBetween, Table
from commons.records.spend import UsageRecord
from commons.schemas.caller import Caller
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown
from commons.services.membership import OpenChannel
from rest_api.schemas import UsageSum

_AFTER_ALL: Final = "\U0010ffff"
"""Sorts after every user and model of a day."""


@dataclass(frozen=True, slots=True)
class UsageSums:
    """Sums by day, user and model; `next_after` is the sort key that the list goes on past."""

    items: list[UsageSum]
    next_after: str | None


class UsageService(BaseService):
    def __init__(self, repository: IRepository | None = None) -> None:
        super().__init__(repository)
        self._reader = ChannelReader(self.repository)

    def page(
        self,
        channel_id: str,
        caller: Caller,
        *,
        first_day: str | None,
        last_day: str | None,
        limit: int,
        after: str | None = None,
    ) -> Shown[UsageSums]:
        """The sums of some days, both included, from past `after` on.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            ForbiddenError: a member, but no owner.
        """
        return self._reader.show_to_member(
            channel_id,
            caller.user_id,
            lambda: self._sums(channel_id, first_day, last_day, limit, after),
            _to_owner,
        )

    def _sums(
        self,
        channel_id: str,
        first_day: str | None,
        last_day: str | None,
        limit: int,
        after: str | None,
    ) -> UsageSums:
        partition = keys.usage_partition(channel_id)
        days = SortBetween(
            low=first_day or "0", high=_AFTER_ALL if last_day is None else last_day + _AFTER_ALL
        )
        page = self.repository.query(
            Query(
                table=Table.CHANNELS,
                partition=partition,
                sort=days,
                limit=limit + 1,
                consistent=True,
                start_after=None if after is None else {"pk": partition, "sk": after},
            )
        )
        shown = page.items[:limit]
        return UsageSums(
            [_sum(UsageRecord.model_validate(item)) for item in shown],
            str(shown[-1]["sk"]) if len(page.items) > limit else None,
        )


def _to_owner(sums: UsageSums, opened: OpenChannel) -> UsageSums:
    opened.require_owner()
    return sums


def _sum(record: UsageRecord) -> UsageSum:
    return UsageSum(**record.model_dump())
