"""People who ask, cancel, regenerate, sign in, subscribe and hang up, without a pause to speak of."""

import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from tests.soak.caller import Caller
from tests.soak.notes import Cancel, Notes, Post, Subscription
from tests.soak.socket import GatewayError, SoakSocket

MAX_SOCKETS = 3
WRITTEN_MS = (200, 1_000, 3_000, 6_000)
"""How long the demo model takes for an answer."""

CANCELLED_OF_LAST = 8
"""People cancel what was asked lately: of the rest nothing is open."""


class Person(threading.Thread):
    """Does one thing after the other until it is told to end.

    Args:
        caller: who it is.
        channels: of which it is a member.
        notes: take what was acknowledged.
        rng: chooses what to do.
        pause: seconds from one deed to the next, at random between two figures.
        only_asks: by REST; else it does all that people do.
    """

    def __init__(
        self,
        caller: Caller,
        channels: Sequence[str],
        notes: Notes,
        rng: random.Random,
        *,
        pause: tuple[float, float],
        only_asks: bool = False,
    ) -> None:
        super().__init__(daemon=True, name=caller.user)
        self._caller = caller
        self._channels = channels
        self._notes = notes
        self._rng = rng
        self._pause = pause
        self._over = threading.Event()
        self.sockets: list[SoakSocket] = []
        self._deeds: dict[Callable[[], None], int] = {
            self._ask_by_rest: 16,
            self._ask_by_socket: 16,
            self._cancel: 14,
            self._regenerate: 8,
            self._sign_in: 6,
            self._connect: 10,
            self._subscribe: 20,
            self._hang_up: 4,
        }
        if only_asks:
            self._deeds = {self._ask_by_rest: 1}

    def run(self) -> None:
        while not self._over.wait(self._rng.uniform(*self._pause)):
            (deed,) = self._rng.choices(list(self._deeds), list(self._deeds.values()))
            try:
                deed()
            except GatewayError:
                self._notes.count("frames that broke off")
            except AssertionError as error:
                self._notes.violated(f"{self.name} gave up: {error}")

    def end(self) -> None:
        self._over.set()
        self.join()

    def _ask_by_rest(self) -> None:
        channel, text, key = self._question()
        sent_at = time.time()
        body = {"text": text, "clientMessageId": key}
        answer, _ = self._caller.call("POST", f"/channels/{channel}/messages", 200, 201, json=body)
        self._posted(channel, answer.json()["seq"], text, key, sent_at)

    def _ask_by_socket(self) -> None:
        socket = self._socket()
        if socket is None:
            return
        channel, text, key = self._question()
        sent_at = time.time()
        fields = {"channelId": channel, "text": text, "clientMessageId": key}
        try:
            frame = socket.ask("sendmessage", **fields)
        except GatewayError:
            self._notes.count("frames that broke off")
            # The line may be gone: what was not acknowledged is said again, by the other way.
            body = {"text": text, "clientMessageId": key}
            path = f"/channels/{channel}/messages"
            frame = self._caller.call("POST", path, 200, 201, json=body)[0].json()
        if frame["type"] == "error":
            self._notes.violated(f"sendmessage refused: {frame['error']}")
            return
        self._posted(channel, frame["seq"], text, key, sent_at)

    def _question(self) -> tuple[str, str, str]:
        key = uuid.UUID(int=self._rng.getrandbits(128), version=4).hex
        told = f"[[demo total_ms={self._rng.choice(WRITTEN_MS)}]]"
        return self._rng.choice(self._channels), f"{told} Is it {key}?", key

    def _posted(self, channel: str, seq: int, text: str, key: str, sent_at: float) -> None:
        self._notes.posts.append(Post(channel, seq, text, key, sent_at, time.time()))

    def _cancel(self) -> None:
        recent = self._notes.posts[-CANCELLED_OF_LAST:]
        if not recent:
            return
        channel = self._rng.choice(recent).channel
        listed_at = time.time()
        listed, _ = self._caller.call("GET", f"/channels/{channel}/generations", 200)
        items = listed.json()["items"]
        if not items:
            return
        if self._rng.random() < 0.7:
            items = [self._rng.choice(items)]
            chosen = {"replyTo": items[0]["replyTo"]}
        else:
            chosen = {}
        acked_at = self._cancelled(channel, chosen)
        for item in items:
            self._notes.cancels.append(
                Cancel(
                    channel,
                    item["replyTo"],
                    item["generation"],
                    item["status"],
                    listed_at,
                    acked_at,
                )
            )

    def _cancelled(self, channel: str, chosen: dict[str, int]) -> float:
        socket = self._socket() if self._rng.random() < 0.5 else None
        if socket is not None:
            try:
                frame = socket.ask("cancel", channelId=channel, **chosen)
            except GatewayError:
                self._notes.count("frames that broke off")
            else:
                if frame["type"] == "ack":
                    return time.time()
                self._notes.violated(f"cancel refused: {frame['error']}")
        self._caller.call("POST", f"/channels/{channel}/generations/cancel", 202, json=chosen)
        return time.time()

    def _regenerate(self) -> None:
        channel = self._rng.choice(self._channels)
        page, _ = self._caller.call(
            "GET", f"/channels/{channel}/messages", 200, params={"limit": 20}
        )
        replies = [each for each in page.json()["items"] if each["sender"]["kind"] == "agent"]
        if not replies:
            return
        reply = self._rng.choice(replies)
        path = f"/channels/{channel}/messages/{reply['seq']}/regenerate"
        answer, _ = self._caller.call("POST", path, 202, 409)
        if answer.status_code == 202:
            self._notes.regenerations.append((channel, reply["replyTo"]))

    def _sign_in(self) -> None:
        self._caller.renew_token()
        me, _ = self._caller.call("GET", "/me", 200)
        self._notes.count("tokens accepted")
        assert me.json()["userId"] == self._caller.user

    def _connect(self) -> None:
        if len(self.sockets) >= MAX_SOCKETS:
            return
        channels = self._rng.sample(self._channels, self._rng.randint(0, 2))
        by_ticket = self._rng.random() < 0.6
        if not by_ticket:
            self._caller.renew_token()
        socket = self._caller.connect(*channels, by_ticket=by_ticket)
        if socket is None:
            return
        self.sockets.append(socket)
        for channel in channels:
            self._notes.subscriptions.append(Subscription(socket, channel, time.time()))

    def _subscribe(self) -> None:
        """With `after` or without, to a channel that this line has not heard of yet."""
        socket = self._socket()
        if socket is None:
            return
        heard = {each.channel for each in self._notes.subscriptions if each.socket is socket}.union(
            socket.first_seen
        )
        channels = [each for each in self._channels if each not in heard]
        if not channels:
            return
        channel = self._rng.choice(channels)
        known = [post.seq for post in self._notes.posts[-50:] if post.channel == channel]
        after = self._rng.choice([0, *known]) if self._rng.random() < 0.6 else None
        asked: dict[str, int] = {} if after is None else {"after": after}
        frame = socket.ask("subscribe", channelId=channel, **asked)
        if frame["type"] == "error":
            self._notes.violated(f"subscribe refused: {frame['error']}")
            return
        through = frame.get("through", 0)
        self._notes.subscriptions.append(Subscription(socket, channel, time.time(), after, through))

    def _hang_up(self) -> None:
        socket = self._socket()
        if socket is not None:
            self.sockets.remove(socket)
            socket.hang_up()

    def _socket(self) -> SoakSocket | None:
        """One of the open ones."""
        for gone in [each for each in self.sockets if each.closed_at is not None]:
            self.sockets.remove(gone)
            self._notes.count("lines closed by the server")
        return self._rng.choice(self.sockets) if self.sockets else None
