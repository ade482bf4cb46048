"""Holds what was acknowledged against the logs, once everything has ended."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from tests.e2e.clients import Json
from tests.soak.channels import is_end, is_question, question_of
from tests.soak.figures import Figures
from tests.soak.notes import Cancel, Notes, Subscription
from tests.soak.pulse import Pulse
from tests.soak.reaper import Reaper

END_SECONDS = 60.0
CANCEL_SECONDS = 2.0
LIFE_SECONDS = 1.5
"""Who sent a delta so lately, and was not hit since, lives."""

GOODBYE_SECONDS = 30.0
"""Events of the last seconds of a line that was hung up may have been on their way."""

type Logs = Mapping[str, list[Json]]
"""Of each channel, all its events."""

type Ends = Mapping[tuple[str, int], Mapping[int, Json]]
"""Of each question (channel, number), the ends of its replies by their numbers."""


def moment(event: Json) -> float:
    return datetime.fromisoformat(event["createdAt"]).timestamp()


class Verdict:
    """What was promised and not kept goes to the notes as violations.

    Args:
        notes: what was acknowledged.
        logs: what there is.
        reaper: who died when.
        pulse: when the machine had no time.
        figures: take what was seen.
    """

    def __init__(
        self, notes: Notes, logs: Logs, reaper: Reaper, pulse: Pulse, figures: Figures
    ) -> None:
        self._notes = notes
        self._logs = logs
        self._reaper = reaper
        self._pulse = pulse
        self._figures = figures
        self.ends: dict[tuple[str, int], dict[int, Json]] = defaultdict(dict)

    def judge(self) -> None:
        self._logs_have_no_gap()
        self._posts_are_there_once()
        self._collect_ends()
        self._questions_have_one_end()
        self._cancels_are_prompt()
        self._subscriptions_are_live()

    def _logs_have_no_gap(self) -> None:
        for channel, events in self._logs.items():
            if [event["seq"] for event in events] != list(range(1, len(events) + 1)):
                self._notes.violated(f"the log of {channel} has a gap")
        self._figures.add("events in the logs", sum(map(len, self._logs.values())))

    def _posts_are_there_once(self) -> None:
        keys: dict[str, int] = defaultdict(int)
        for event in self._questions():
            keys[event["clientMessageId"]] += 1
        for post in self._notes.posts:
            events = self._logs[post.channel]
            is_there = post.seq <= len(events) and events[post.seq - 1]["data"].get("text")
            if is_there != post.text:
                self._notes.violated(f"acknowledged and lost: {post.channel} {post.seq}")
        if doubled := [key for key, count in keys.items() if count > 1]:
            self._notes.violated(f"posted twice: {doubled}")
        self._figures.add("posts acknowledged", len(self._notes.posts))
        waits = [post.acked_at - post.sent_at for post in self._notes.posts]
        self._figures.spread("seconds until a post was acknowledged", waits)

    def _questions(self) -> list[Json]:
        return [event for events in self._logs.values() for event in events if is_question(event)]

    def _collect_ends(self) -> None:
        for channel, events in self._logs.items():
            for event in events:
                if not is_end(event):
                    continue
                question = question_of(event)
                generation = event["data"]["generation"]
                ends = self.ends[channel, question]
                if generation in ends:
                    self._notes.violated(f"ended twice: {channel} {question} {generation}")
                ends[generation] = event

    def _questions_have_one_end(self) -> None:
        asked: dict[tuple[str, int], int] = defaultdict(lambda: 1)
        for channel, question in self._notes.regenerations:
            asked[channel, question] += 1
        outcomes: dict[str, int] = defaultdict(int)
        waits: list[float] = []
        last = self._reaper.last
        for event in self._questions():
            subject = event["channelId"], event["seq"]
            ends = self.ends[subject]
            if len(ends) < asked[subject] or sorted(ends) != list(range(1, len(ends) + 1)):
                self._notes.violated(
                    f"{subject} ended as {sorted(ends)}, not {asked[subject]} times"
                )
            if 1 in ends:
                waits.append(moment(ends[1]) - moment(event))
            for end in ends.values():
                outcomes[end["data"].get("reason") or end["data"]["finishReason"]] += 1
                if last and moment(end) > last + END_SECONDS:
                    late = moment(end) - last
                    self._notes.violated(
                        f"{subject} ended {late:.1f} s after the last worker was hit"
                    )
        for outcome, count in sorted(outcomes.items()):
            self._figures.add(f"replies that ended in {outcome}", count)
        self._figures.spread("seconds from question to end", waits)
        latest = max((moment(e) for ends in self.ends.values() for e in ends.values()), default=0)
        if last:
            self._figures.add("last end, seconds after the last hit", f"{latest - last:.1f}")

    def _cancels_are_prompt(self) -> None:
        waits: list[float] = []
        others: list[float] = []
        for cancel in self._notes.cancels:
            end = self.ends[cancel.channel, cancel.seq].get(cancel.generation)
            if end is None:
                continue  # has been told above
            wait = moment(end) - cancel.acked_at
            if not self._is_of_a_living_worker(cancel):
                others.append(wait)
                continue
            waits.append(wait)
            if wait > CANCEL_SECONDS:
                self._notes.violated(
                    f"cancel of {cancel.channel} {cancel.seq} ({cancel.status}) took {wait:.1f} s"
                )
        self._figures.spread("seconds from a cancel of a living worker to its end", waits)
        self._figures.spread("seconds from a cancel of any other", others)

    def _is_of_a_living_worker(self, cancel: Cancel) -> bool:
        """Nobody has it, or somebody who was heard of just now; no worker was hit since, nor the
        machine busy."""
        since = cancel.acked_at - LIFE_SECONDS
        until = cancel.acked_at + CANCEL_SECONDS
        deltas = self._notes.deltas(cancel.channel, cancel.seq, cancel.generation)
        is_heard = any(since <= at <= until for at in deltas)
        begin = since if cancel.status == "running" else cancel.listed_at
        is_hit = self._reaper.has_hit("workers_agent", begin, until)
        is_slow = self._pulse.was_slow(begin, until)
        return (cancel.status == "queued" or is_heard) and not is_hit and not is_slow

    def _subscriptions_are_live(self) -> None:
        heard: list[float] = []
        for subscription in self._notes.subscriptions:
            heard += self._heard_by(subscription)
        self._figures.add("subscriptions acknowledged", len(self._notes.subscriptions))
        self._figures.add("events that they had to hear", len(heard))
        self._figures.spread("seconds from an event to a line", heard)

    def _heard_by(self, subscription: Subscription) -> list[float]:
        """How long each event took to come that had to."""
        socket = subscription.socket
        seen = socket.first_seen.get(subscription.channel, {})
        until = float("inf")
        if socket.closed_at is not None:
            until = socket.closed_at - GOODBYE_SECONDS
        waits: list[float] = []
        late: list[int] = []
        missed: list[int] = []
        for event in self._logs[subscription.channel]:
            seq, at = event["seq"], moment(event)
            is_past = (
                subscription.after is not None and subscription.after < seq <= subscription.through
            )
            if is_past and not seen.get(seq, float("inf")) <= subscription.acked_at:
                late.append(seq)
            if not subscription.acked_at < at < until:
                continue
            if seq in seen:
                waits.append(seen[seq] - at)
            else:
                missed.append(seq)
        where = f"{subscription.channel}, subscribed after {subscription.after}"
        if late:
            self._notes.violated(f"not replayed before the acknowledgement: {late} of {where}")
        if missed:
            self._notes.violated(f"never came: {missed} of {where}")
        # What it says to hold may come again at any time.
        order = [seq for seq in seen if seq > (subscription.after or 0)]
        if order != sorted(order):
            self._notes.violated(f"out of order: {where}: {order}")
        return waits
