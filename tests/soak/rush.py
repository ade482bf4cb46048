"""A thousand questions at once in one channel, and one in another."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import psutil
from tests.e2e.clients import Json
from tests.e2e.redeploying import deploy_changed
from tests.soak.caller import Caller
from tests.soak.chance import seeded
from tests.soak.channels import new_channel, read_log, wait_until_all_has_ended
from tests.soak.course import judge
from tests.soak.figures import Figures
from tests.soak.notes import Notes, Post
from tests.soak.pulse import Pulse
from tests.soak.reaper import Reaper
from tests.soak.storage import repository_of
from tests.soak.verdict import END_SECONDS, moment

from commons import keys
from commons.dal import IRepository, Table
from devstack.local_stack import LocalStack

QUESTIONS = 1_000
POSTERS = 8
MAX_TOKENS = 64
CHANNEL_TOKENS = 200_000
"""Some 250 replies use that."""

HOLD_SECONDS = 0.5
"""Between two looks: the emulator replaces a dispatcher that has been held up for its 30 s."""

PATIENCE_SECONDS = 600.0
"""Who posts among two hundred replies that end is told 429 for minutes where two cores do it all."""

BESIDE_SECONDS = 20.0
"""Until the other channel's reply begins: two cores dispatch the five hundred questions before its own
in some ten. It does not wait for any of their replies, which take minutes."""

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
    """One run."""

    def __init__(self, stack: LocalStack, *, seconds: float, seed: int) -> None:
        self._stack = stack
        self._seconds = seconds
        self._seed = seed
        self._notes, self._figures = Notes(), Figures()
        self._reaper = Reaper(stack, seeded(seed))
        self._pulse = Pulse(repository_of(stack))

    def run(self) -> list[str]:
        limits = {"ChannelTokensPerDay": str(CHANNEL_TOKENS), "UserTokensPerDay": "0"}
        deploy_changed(self._stack, "workers", limits)
        try:
            self._pulse.start()
            crowded, quiet = (self._caller(name) for name in ("crowded", "quiet"))
            channel = self._all_at_once(crowded, quiet)
            self._pulse.end()
            logs = {channel: read_log(crowded, channel)}
            judge(
                self._stack,
                logs,
                notes=self._notes,
                reaper=self._reaper,
                pulse=self._pulse,
                figures=self._figures,
            )
            return self._notes.violations
        finally:
            self._stack.up()

    def _caller(self, name: str) -> Caller:
        outputs = self._stack.outputs()
        user = f"{name}-{self._seed}"
        return Caller(
            outputs,
            self._stack.users(outputs),
            user,
            self._notes,
            self._reaper,
            patience=PATIENCE_SECONDS,
        )

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
        with self._held_up_dispatcher(), ThreadPoolExecutor(POSTERS) as posters:
            asked = [posters.submit(self._ask, crowded, channel, n) for n in range(QUESTIONS)]
            asked[QUESTIONS // 2].result()
            beside = self._ask(quiet, other, -2)
        dispatched = time.time()
        self._figures.add("seconds until all were posted", f"{dispatched - began:.1f}")
        wait_until_all_has_ended(quiet, [other], dispatched + self._seconds)
        self._judge_beside(beside, dispatched, read_log(quiet, other))
        wait_until_all_has_ended(crowded, [channel], dispatched + self._seconds)
        self._figures.add("all had ended after seconds", f"{time.time() - dispatched:.1f}")
        budget.end()
        self._judge_spend(crowded, channel, budget)
        line.hang_up()
        return channel

    @contextmanager
    def _held_up_dispatcher(self) -> Iterator[None]:
        """Two cores take some 25 posts a second: that they are dispatched at once is made up."""
        over = threading.Event()
        held: list[psutil.Process] = []

        def hold() -> None:
            while not over.wait(HOLD_SECONDS):
                for worker in self._stack.workers_of("workers_agent_dispatcher"):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        worker.suspend()
                        held.append(worker)

        holding = threading.Thread(target=hold, daemon=True)
        holding.start()
        try:
            yield
        finally:
            over.set()
            holding.join()
            for worker in held:
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.resume()

    def _ask(self, caller: Caller, channel: str, number: int) -> Post:
        key = f"rush-{self._seed}-{number}"
        text = f"[[demo total_ms=200]] Is it {key}?"
        sent_at = time.time()
        body = {"text": text, "clientMessageId": key}
        answer, _ = caller.call("POST", f"/channels/{channel}/messages", 200, 201, json=body)
        post = Post(channel, answer.json()["seq"], text, key, sent_at, time.time())
        if caller.user.startswith("crowded"):
            self._notes.posts.append(post)
        return post

    def _judge_beside(self, post: Post, dispatched: float, log: list[Json]) -> None:
        deltas = self._notes.deltas(post.channel, post.seq, 1)
        began = min(deltas) - dispatched if deltas else float("inf")
        if began > BESIDE_SECONDS:
            self._notes.violated(f"the other channel's reply began after {began:.1f} s")
        self._figures.add("the other channel's reply began after seconds", f"{began:.1f}")
        ends = [moment(event) for event in log if event["data"].get("replyTo") == post.seq]
        if len(ends) != 1:
            self._notes.violated(f"the other channel's question has {len(ends)} ends")
            return
        self._figures.add("and ended after seconds", f"{ends[0] - dispatched:.1f}")

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


def soak_rush(stack: LocalStack, *, seconds: float, seed: int) -> list[str]:
    """Waits for so long at most until all have ended; answers what was violated."""
    return Rush(stack, seconds=seconds, seed=seed).run()
