"""What every reply of a worker is written with."""

from collections.abc import Callable
from dataclasses import dataclass

from commons.services.event_log import EventLogService
from commons.services.generation_endings import GenerationEndingsService
from commons.services.membership import MembershipService
from commons.services.spend import SpendService
from commons.services.tool_calls import ToolCallsService
from commons.services.tool_catalogue import ToolCatalogueService
from workers_agent.pace import Pace
from workers_agent.services.claims import ClaimsService
from workers_agent.services.context import ContextService
from workers_agent.services.turns import Turns
from workers_agent.services.writing import AnswerWriter
from workers_agent.tool_function import IToolFunction


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of one reply.

    Attributes:
        calls: of tools that are made.
        requests: that the model answers.
    """

    calls: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collaborators:
    claims: ClaimsService
    endings: GenerationEndingsService
    event_log: EventLogService
    membership: MembershipService
    context: ContextService
    catalogue: ToolCatalogueService
    calls: ToolCallsService
    tools: IToolFunction
    spend: SpendService
    writer: AnswerWriter
    pace: Pace
    bounds: Bounds
    turns: Turns
    clock: Callable[[], int]
