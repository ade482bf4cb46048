"""What a channel says about its agent."""

from typing import cast

from commons import keys
from commons.dal import Table
from commons.schemas.generation import AgentRecord
from commons.services.base import BaseService


class AgentsService(BaseService):
    def find(self, channel_id: str) -> AgentRecord | None:
        """The channel's agent, consistently read; None where the channel is gone."""
        item = self.repository.find(Table.CHANNELS, keys.channel_key(channel_id), consistent=True)
        if item is None or item.get("deleted"):
            return None
        settings = cast("dict[str, object] | None", item.get("agent"))
        return AgentRecord.model_validate(settings or {})
