"""Whose questions wait apart: those of a channel that has many replies to be written."""

from typing import Final

from commons import keys
from commons.dal import Query, Table
from commons.services.base import BaseService

REPLIES_BESIDE_OTHERS: Final = 10
"""Of one channel: what one worker writes at once. Where each has a worker of its own, they are half
of the workers of a machine and a tenth of those on AWS."""


class CrowdingService(BaseService):
    """Keeps one channel's thousand questions from standing before everybody's (docs/adr/0061)."""

    def room_left(self, channel_id: str) -> int:
        """How many of a channel's questions may still be queued beside everybody's; 0: it is crowded.

        It looks at the newest open replies alone. One that waits for people takes no worker, so it
        is not counted.
        """
        page = self.repository.query(
            Query(
                table=Table.CHANNELS,
                partition=keys.open_generations_partition(channel_id),
                ascending=False,
                limit=REPLIES_BESIDE_OTHERS,
                consistent=True,
                attributes=("status",),
            )
        )
        return REPLIES_BESIDE_OTHERS - sum(item["status"] != "waiting" for item in page.items)
