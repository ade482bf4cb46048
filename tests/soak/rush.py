"""A thousand questions at once in one channel; then agents' workers die while people ask."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from tests.e2e.clients import Json
from tests.e2e.redeploying import deploy_changed
from tests.soak.caller import Caller
from tests.soak.chance import seeded
from tests.soak.channels import new_channel, read_log, wait_until_all_has_ended
from tests.soak.figures import Figures
from tests.soak.notes import Notes, Post
from tests.soak.parked import judge_parked
from tests.soak.payments import judge_payments
from tests.soak.people import Person
from tests.soak.pulse import Pulse
from tests.soak.reaper import Reaper
from tests.soak.storage import repository_of
from tests.soak.verdict import END_SECONDS, Verdict, moment

from commons import keys
from commons.dal import IRepository, Table
from devstack.local_stack import LocalStack

QUESTIONS = 1_000
POSTERS = 16
MAX_TOKENS = 64
CHANNEL_TOKENS = 1_500_000
"""About half of what a thousand replies use."""

RUSH_SECONDS = 420.0
"""What a thousand replies take on two cores, and room."""

ASKERS = 3
KILL_PAUSE_SECONDS = (5.0, 5.0)
LOOK_SECONDS = 0.2


class Budget(threading.Thread):
    """Looks at what is spent and set aside of a channel's day, again and again."""

    def __init__(self, repository: IRepository, channel: str) -> None:
        super().__init__(daemon=True)
        self._repository = repository
        day = datetime.now(UTC).date().isoformat()
        self._key = keys.budget_key("channel", channel, day)
        self._over = threading.Event()
        self.highest = 0

    def run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.highest = max(self.highest, self.spent())

    def end(self) -> None:
        self._over.set()
        self.join()

    def spent(self) -> int:
        row = self._repository.find(Table.CHANNELS, self._key, consistent=True)
        return 0 if row is None else int(str(row["tokens"]))


class Rush:
    """One run of both parts."""

    def __init__(self, stack: LocalStack, *, seconds: float, seed: int) -> None:
        self._stack = stack
        self._seconds = seconds
        self._seed = seed
        self._rng = seeded(seed)
        self._notes, self._figures = Notes(), Figures()
        self._reaper = Reaper(
            stack,
            seeded(self._rng.random()),
            functions=["workers_agent"],
            pause=KILL_PAUSE_SECONDS,
            stops=False,
        )

        self._pulse = Pulse(repository_of(stack))

    def run(self) -> list[str]:
        limits = {"ChannelTokensPerDay": str(CHANNEL_TOKENS), "UserTokensPerDay": "0"}
        deploy_changed(self._stack, "workers", limits)
        crowded, quiet = (self._caller(name) for name in ("crowded", "quiet"))
        channel = self._all_at_once(crowded, quiet)
        deploy_changed(
            self._stack, "workers", {"ChannelTokensPerDay": "0", "UserTokensPerDay": "0"}
        )
        channels = self._while_workers_die(crowded)
        logs = {each: read_log(crowded, each) for each in [channel, *channels]}
        verdict = Verdict(self._notes, logs, self._reaper, self._pulse, self._figures)
        verdict.judge()
        judge_payments(self._stack, self._notes, verdict.ends, self._figures)
        judge_parked(self._stack, self._notes, self._figures)
        self._figures.add_counts(self._notes)
        self._stack.up()
        return self._notes.violations

    def _caller(self, name: str) -> Caller:
        outputs = self._stack.outputs()
        user = f"{name}-{self._seed}"
        return Caller(outputs, self._stack.users(outputs), user, self._notes, self._reaper)

    def _all_at_once(self, crowded: Caller, quiet: Caller) -> str:
        channel = new_channel(crowded, "crowded", max_tokens=MAX_TOKENS)
        other = new_channel(quiet, "quiet")
        line = quiet.connect(other, by_ticket=True)
        assert line is not None
        self._ask(quiet, other, -1)
        wait_until_all_has_ended(quiet, [other], time.time() + END_SECONDS)
        budget = Budget(repository_of(self._stack), channel)
        budget.start()
        began = time.time()
        with ThreadPoolExecutor(POSTERS) as posters:
            asked = [posters.submit(self._ask, crowded, channel, n) for n in range(QUESTIONS)]
            asked[QUESTIONS // 2].result()
            beside = self._ask(quiet, other, -2)
        posted = time.time() - began
        self._figures.add("questions in one channel, posted within seconds", f"{posted:.1f}")
        wait_until_all_has_ended(quiet, [other], began + RUSH_SECONDS)
        self._judge_beside(beside, read_log(quiet, other))
        wait_until_all_has_ended(crowded, [channel], began + RUSH_SECONDS)
        self._figures.add("all of them ended after seconds", f"{time.time() - began:.1f}")
        budget.end()
        self._judge_spend(crowded, channel, budget)
        line.hang_up()
        return channel

    def _ask(self, caller: Caller, channel: str, number: int) -> Post:
        key = f"rush-{self._seed}-{number}"
        text = f"[[demo total_ms=1000]] Is it {key}?"
        sent_at = time.time()
        body = {"text": text, "clientMessageId": key}
        answer, _ = caller.call("POST", f"/channels/{channel}/messages", 200, 201, json=body)
        post = Post(channel, answer.json()["seq"], text, key, sent_at, time.time())
        if caller.user.startswith("crowded"):
            self._notes.posts.append(post)
        return post

    def _judge_beside(self, post: Post, log: list[Json]) -> None:
        deltas = self._notes.deltas(post.channel, post.seq, 1)
        began = min(deltas) - post.acked_at if deltas else float("nan")
        self._figures.add("the other channel's reply began after seconds", f"{began:.1f}")
        ends = [moment(event) for event in log if event["data"].get("replyTo") == post.seq]
        if len(ends) != 1:
            self._notes.violated(f"the other channel's question has {len(ends)} ends")
            return
        self._figures.add("and ended after seconds", f"{ends[0] - post.acked_at:.1f}")

    def _judge_spend(self, owner: Caller, channel: str, budget: Budget) -> None:
        log = read_log(owner, channel)
        used = sum(
            event["data"]["usage"]["inputTokens"] + event["data"]["usage"]["outputTokens"]
            for event in log
            if event["data"].get("usage")
        )
        refused = sum(event["data"].get("reason") == "budget" for event in log)
        page, _ = owner.call("GET", f"/channels/{channel}/usage", 200)
        shown = sum(each["inputTokens"] + each["outputTokens"] for each in page.json()["items"])
        spent = budget.spent()
        self._figures.add("tokens of the day's limit", CHANNEL_TOKENS)
        self._figures.add("most that was spent and set aside at a time", budget.highest)
        self._figures.add("tokens that replies say they used", used)
        self._figures.add("tokens that the usage shows, and the budget's row", f"{shown}, {spent}")
        self._figures.add("questions that did not fit", refused)
        if max(budget.highest, spent) > CHANNEL_TOKENS:
            self._notes.violated(f"the day's limit was passed: {budget.highest}, {spent}")
        if shown != spent or shown < used:
            self._notes.violated(f"replies used {used}, usage shows {shown}, the row {spent}")
        if not refused:
            self._notes.violated("the day's limit was never met")

    def _while_workers_die(self, owner: Caller) -> list[str]:
        callers = [owner, *(self._caller(f"asker-{number}") for number in range(1, ASKERS))]
        names = [caller.user for caller in callers]
        channels = [new_channel(owner, f"rush {n}", members=names[1:]) for n in range(ASKERS)]
        people = [
            Person(caller, channels, self._notes, seeded(self._rng.random()), only_asks=True)
            for caller in callers
        ]
        for person in people:
            person.start()
        self._reaper.start()
        time.sleep(self._seconds)
        self._reaper.end()
        for person in people:
            person.end()
        self._figures.add("workers killed", self._reaper.summary())
        wait_until_all_has_ended(owner, channels, self._reaper.last + END_SECONDS)
        return channels


def soak_rush(stack: LocalStack, *, seconds: float, seed: int) -> list[str]:
    """Agents' workers are killed for so long; answers what was violated."""
    return Rush(stack, seconds=seconds, seed=seed).run()
