"""What an agent may be set to, and what of it who may see."""

from collections.abc import Mapping, Sequence

from commons.errors import InvalidRequestError
from commons.records.channel import AgentRecord
from commons.records.tool import EVERY_TOOL, ChannelTool, strictness
from commons.schemas.channel import AgentChanges
from commons.schemas.event import AgentView, ApprovalRule, Role
from commons.services.tool_catalogue import ToolCatalogueService


class AgentRules:
    """Settings of agents under the models and the tools that this deployment allows.

    Args:
        models: what `modelId` may be; the first is the default.
        catalogue: which tools there are.
    """

    def __init__(self, models: Sequence[str], *, catalogue: ToolCatalogueService) -> None:
        self._models = tuple(models)
        self._catalogue = catalogue

    def merged(self, current: AgentRecord | None, changes: AgentChanges | None) -> AgentRecord:
        """`current` (or the defaults) with the fields that were given; null means the default.

        Raises:
            InvalidRequestError: the model is none of those allowed, there is no such tool, or a
                tool's rule is looser than the stack's.
        """
        default = AgentRecord(mode="always", model_id=self._models[0])
        settings = current or default
        if changes is None:
            return settings
        if changes.model_id is not None and changes.model_id not in self._models:
            raise InvalidRequestError.of("agent.modelId", f"is none of: {', '.join(self._models)}")
        if changes.tools or changes.approval:
            offered = {tool.name: tool for tool in self._catalogue.offered()}
            _require_offered(changes.tools or (), offered)
            _require_as_strict(changes.approval or {}, offered)
        given = {name: getattr(changes, name) for name in changes.model_fields_set}
        if given.get("tools"):
            given["tools"] = list(dict.fromkeys(given["tools"]))
        return settings.model_copy(
            update={
                name: getattr(default, name) if value is None else value
                for name, value in given.items()
            }
        )


def _require_offered(patterns: Sequence[str], offered: Mapping[str, ChannelTool]) -> None:
    every = {f"{name.partition('.')[0]}.{EVERY_TOOL}" for name in offered}
    for number, pattern in enumerate(patterns):
        if pattern not in offered and pattern not in every:
            raise InvalidRequestError.of(f"agent.tools.{number}", "is no tool that is offered")


def _require_as_strict(
    rules: Mapping[str, ApprovalRule], offered: Mapping[str, ChannelTool]
) -> None:
    for name, rule in rules.items():
        if name not in offered:
            raise InvalidRequestError.of("agent.approval", "names a tool that is not offered")
        least = offered[name].approval
        if strictness(rule) < strictness(least):
            message = f"{name} needs the approval of {least} at least"
            raise InvalidRequestError.of("agent.approval", message)


def agent_view(settings: AgentRecord, role: Role) -> AgentView:
    """The settings as a member of that role sees them."""
    return AgentView(
        mode=settings.mode,
        model_id=settings.model_id,
        system_prompt=settings.system_prompt if role == "owner" else None,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        tools=settings.tools or None,
        approval=settings.approval or None,
    )
