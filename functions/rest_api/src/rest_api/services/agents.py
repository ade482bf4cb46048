"""What an agent may be set to, and what of it who may see."""

from collections.abc import Sequence

from commons.errors import InvalidRequestError
from commons.records.channel import AgentRecord
from commons.schemas.channel import AgentChanges
from commons.schemas.event import AgentView, Role


class AgentRules:
    """Settings of agents under the models that this deployment allows.

    Args:
        models: what `modelId` may be; the first is the default.
    """

    def __init__(self, models: Sequence[str]) -> None:
        self._models = tuple(models)

    def merged(self, current: AgentRecord | None, changes: AgentChanges | None) -> AgentRecord:
        """`current` (or the defaults) with the fields that were given; null means the default.

        Raises:
            InvalidRequestError: the model is none of those allowed.
        """
        default = AgentRecord(mode="always", model_id=self._models[0])
        settings = current or default
        if changes is None:
            return settings
        if changes.model_id is not None and changes.model_id not in self._models:
            raise InvalidRequestError.of("agent.modelId", f"is none of: {', '.join(self._models)}")
        given = {name: getattr(changes, name) for name in changes.model_fields_set}
        return settings.model_copy(
            update={
                name: getattr(default, name) if value is None else value
                for name, value in given.items()
            }
        )


def agent_view(settings: AgentRecord, role: Role) -> AgentView:
    """The settings as a member of that role sees them."""
    return AgentView(
        mode=settings.mode,
        model_id=settings.model_id,
        system_prompt=settings.system_prompt if role == "owner" else None,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
    )
