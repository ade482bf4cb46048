"""Replies that are being asked for or written, as members see them."""

from datetime import UTC, datetime

from commons.clock import rfc3339
from commons.dal import IRepository
from commons.records.generation import OpenGeneration
from commons.schemas.caller import Caller
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown
from commons.services.generations import GenerationsService
from rest_api.schemas import OpenGenerationView


class OpenGenerationsService(BaseService):
    def __init__(
        self, repository: IRepository | None = None, *, generations: GenerationsService
    ) -> None:
        super().__init__(repository)
        self._generations = generations
        self._reader = ChannelReader(self.repository)

    def of_channel(self, channel_id: str, caller: Caller) -> Shown[list[OpenGenerationView]]:
        """The open ones, by question.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
        """
        return self._reader.show(
            channel_id,
            caller.user_id,
            lambda: [_view(row) for row in self._generations.list_open(channel_id)],
        )


def _view(row: OpenGeneration) -> OpenGenerationView:
    return OpenGenerationView(
        reply_to=row.question_seq,
        generation=row.generation,
        status=row.status,
        started_at=rfc3339(datetime.fromtimestamp(row.asked_at / 1_000, tz=UTC)),
    )
