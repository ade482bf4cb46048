"""What waits for a person: nothing, because no data was at fault."""

from tests.soak.figures import Figures
from tests.soak.notes import Notes

from devstack.config import STAGE
from devstack.local_stack import LocalStack
from devstack.redrive import FIFO, MADE_UP_FOR, QUEUES


def judge_parked(stack: LocalStack, notes: Notes, figures: Figures) -> None:
    """Dead letters, parked ranges and failure notices are violations."""
    sqs = stack.clients.sqs()
    for name in sorted(set(QUEUES) - set(MADE_UP_FOR)):
        full_name = f"chat-{STAGE}-{name}{'.fifo' if name in FIFO else ''}"
        url = sqs.get_queue_url(QueueName=full_name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]
        if count := int(attributes["ApproximateNumberOfMessages"]):
            figures.add(f"waiting in {name}", count)
            notes.violated(f"{count} wait for a person in {name}")
