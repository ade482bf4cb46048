"""Whether a model was asked for what had been laid down already."""

from collections import defaultdict
from typing import Any

from tests.soak.figures import Figures
from tests.soak.model_log import asked, laid_down
from tests.soak.notes import Notes
from tests.soak.verdict import Ends, moment

from devstack.local_stack import LocalStack


def judge_payments(stack: LocalStack, notes: Notes, ends: Ends, figures: Figures) -> None:
    """From the moment when a text is in its row until its end is in the log nobody asks again."""
    requests: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for request in asked(stack, ""):
        requests[request["question"]].append(request)
    texts = {(post.channel, post.seq): post.text for post in notes.posts}
    kept = 0
    for text in laid_down(stack):
        question = texts.get((text.channel, text.question))
        end = ends.get((text.channel, text.question), {}).get(text.generation)
        if question is None or end is None:
            continue
        kept += 1
        again = [
            request for request in requests[question] if text.at < request["asked_at"] < moment(end)
        ]
        if again:
            notes.violated(f"paid for again after it was laid down: {text}, {again}")
    mine = [each for question in texts.values() for each in requests[question]]
    figures.add("requests to the model", len(mine))
    for outcome in sorted({each["outcome"] for each in mine}):
        count = sum(each["outcome"] == outcome for each in mine)
        figures.add(f"requests to the model: {outcome}", count)
    figures.add("texts laid down", kept)
