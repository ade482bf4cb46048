"""What a reply has said and called so far, as its model is told of it."""

from collections.abc import Mapping, Sequence
from typing import Final

from commons.records.generation import GenerationStep, StepCall
from commons.records.tool import ToolCallRecord
from workers_agent.model import AnsweredCall, Step
from workers_agent.services.toolbox import Toolbox

DENIED: Final = "A person denied this call. It was not made."
EXPIRED: Final = "Nobody decided about this call in time. It was not made."
UNKNOWN: Final = "Nobody knows whether this call was made. It is not made again."
NO_ANSWER: Final = "The tool gave no answer."
NOT_MADE: Final = "This call was not made."

_TOLD: Final[Mapping[str, str]] = {"denied": DENIED, "expired": EXPIRED, "unknown": UNKNOWN}


def called_tools(steps: Sequence[GenerationStep]) -> list[str]:
    """Names of all that the model asked for, those of no tool too."""
    return [call.tool for step in steps for call in step.calls]


def transcript(
    steps: Sequence[GenerationStep], calls: Sequence[ToolCallRecord], toolbox: Toolbox
) -> list[Step]:
    """The steps with what came of their calls, all of which are over."""
    records = {call.call_id: call for call in calls}
    return [
        Step(
            step.text.strip(),
            [
                _answered(call, records.get(call.call_id or ""), toolbox.sent_name(call.tool))
                for call in step.calls
            ],
        )
        for step in steps
    ]


def _answered(call: StepCall, record: ToolCallRecord | None, name: str) -> AnsweredCall:
    if record is None:
        return AnsweredCall(
            call_id=call.provider_call_id,
            name=name,
            arguments=call.arguments,
            result=call.error or NOT_MADE,
            is_error=True,
        )
    is_ok = record.outcome == "ok"
    result = record.result or ("" if is_ok else _TOLD.get(record.status, NOT_MADE))
    return AnsweredCall(
        call_id=call.provider_call_id,
        name=name,
        arguments=record.arguments,
        result=result,
        is_error=not is_ok,
    )
