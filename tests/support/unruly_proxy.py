"""A bad line between a WebSocket client and a server: it cuts, delays, repeats, reorders and loses.

    python -m tests.support.unruly_proxy --target ws://127.0.0.1:4566/_aws/… --seed 7 --cuts 50

prints one line of JSON with the `url` to connect to in the target's place, and runs until its
standard input ends or it is stopped. The same port answers plain HTTP: `GET /_proxy/cut` cuts every
connection now, `GET /_proxy/stats` says what was done so far, `GET /_proxy/calm` ends all faults.
What happens to which frame follows from the seed and the order of frames.
"""

import argparse
import asyncio
import json
import random
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

HELD_FRAMES = 5
"""A frame that is reordered lets so many others pass at most."""

HELD_SECONDS = 0.05
"""And where no others come, it is held for so long."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What the line does.

    Attributes:
        cuts: how often it breaks in all.
        frames_a_cut: frames that pass between two cuts, on average.
        delay: seconds, at most, by which a frame and all behind it are held back.
        duplicate: share of frames that come twice.
        reorder: share of frames that let others pass.
        lose: share of the server's pushes of events that never come. TCP loses nothing; the
            service's own push may.
    """

    cuts: int = 0
    frames_a_cut: int = 20
    delay: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    lose: float = 0.0


@dataclass(slots=True)
class Stats:
    connections: int = 0
    frames: int = 0
    cuts: int = 0
    duplicates: int = 0
    reordered: int = 0
    lost: int = 0


class UnrulyProxy:
    """Stands before one WebSocket URL.

    Attributes:
        url: to be used in the target's place.
        faults: may be replaced at any time.
    """

    def __init__(self, target: str, faults: Faults, *, seed: int) -> None:
        self._target = urlsplit(target)
        self.faults = faults
        self.stats = Stats()
        self.url = ""
        self._random = random.Random(seed)  # noqa: S311 - faults, no secrets
        self._upstreams: dict[ServerConnection, ClientConnection] = {}
        self._lines: set[_Line] = set()

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator["UnrulyProxy"]:
        async with serve(
            self._connected,
            "127.0.0.1",
            0,
            process_request=self._handshake,
            ping_interval=None,
            max_size=None,
            close_timeout=1,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"ws://127.0.0.1:{port}{self._target.path}"
            yield self
            self.cut()

    def cut(self) -> None:
        """Breaks every line now."""
        for line in list(self._lines):
            line.cut()

    def calm(self) -> None:
        """From now on the line is good."""
        self.faults = Faults()

    async def _handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path.startswith("/_proxy/"):
            return self._control(connection, request.path.removeprefix("/_proxy/"))
        origin = f"{self._target.scheme}://{self._target.netloc}"
        try:
            self._upstreams[connection] = await connect(
                f"{origin}{request.path}", ping_interval=None, max_size=None, proxy=None
            )
        except InvalidStatus as refusal:
            return connection.respond(refusal.response.status_code, "")
        return None

    def _control(self, connection: ServerConnection, command: str) -> Response:
        match command:
            case "cut":
                self.cut()
            case "calm":
                self.calm()
            case "stats":
                pass
            case _:
                return connection.respond(404, "")
        return connection.respond(200, json.dumps(asdict(self.stats)))

    async def _connected(self, downstream: ServerConnection) -> None:
        upstream = self._upstreams.pop(downstream)
        self.stats.connections += 1
        line = _Line(self, downstream, upstream)
        self._lines.add(line)
        try:
            await line.run()
        finally:
            self._lines.discard(line)

    # What a line asks for each frame.

    def frames_until_cut(self) -> int:
        return self._random.randint(1, max(1, 2 * self.faults.frames_a_cut - 1))

    def may_cut(self) -> bool:
        return self.stats.cuts < self.faults.cuts

    def delay(self) -> float:
        return self._random.uniform(0, self.faults.delay)

    def happens(self, share: float) -> bool:
        return self._random.random() < share

    def frames_to_hold(self) -> int:
        return self._random.randint(1, HELD_FRAMES)


class _Line:
    """One client's connection, through to the server."""

    def __init__(
        self, proxy: UnrulyProxy, downstream: ServerConnection, upstream: ClientConnection
    ) -> None:
        self._proxy = proxy
        self._ends: tuple[Connection, Connection] = (downstream, upstream)
        self._left = proxy.frames_until_cut()

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def run(self) -> None:
        downstream, upstream = self._ends
        async with asyncio.TaskGroup() as group:
            ways = [
                group.create_task(self._pump(downstream, upstream)),
                group.create_task(self._pump(upstream, downstream)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for end in self._ends:
                await end.close()

    async def _pump(self, source: Connection, target: Connection) -> None:
        way = _Way(self._proxy, target)
        try:
            async for message in source:
                if self._is_due():
                    self.cut()
                    return
                await way.forward(message)
        except ConnectionClosed:
            pass  # one end is gone: so is the other one
        finally:
            way.close()

    def _is_due(self) -> bool:
        self._proxy.stats.frames += 1
        self._left -= 1
        if self._left > 0 or not self._proxy.may_cut():
            return False
        self._proxy.stats.cuts += 1
        return True


class _Way:
    """One direction of a line."""

    def __init__(self, proxy: UnrulyProxy, target: Connection) -> None:
        self._proxy = proxy
        self._target = target
        self._held: list[tuple[int, str | bytes]] = []
        self._release: asyncio.Task[None] | None = None

    async def forward(self, message: str | bytes) -> None:
        proxy, faults = self._proxy, self._proxy.faults
        if faults.delay:
            await asyncio.sleep(proxy.delay())
        if b'"type":"events"' in _compact(message) and proxy.happens(faults.lose):
            proxy.stats.lost += 1
            return
        times = 1
        if proxy.happens(faults.duplicate):
            proxy.stats.duplicates += 1
            times = 2
        for _ in range(times):
            if proxy.happens(faults.reorder):
                proxy.stats.reordered += 1
                self._held.append((proxy.frames_to_hold(), message))
                self._release_later()
            else:
                await self._target.send(message)
                await self._one_passed()

    def close(self) -> None:
        if self._release is not None:
            self._release.cancel()

    async def _one_passed(self) -> None:
        due = [message for left, message in self._held if left <= 1]
        self._held = [(left - 1, message) for left, message in self._held if left > 1]
        for message in due:
            await self._target.send(message)

    def _release_later(self) -> None:
        if self._release is None or self._release.done():
            self._release = asyncio.create_task(self._release_all())

    async def _release_all(self) -> None:
        try:
            while self._held:
                await asyncio.sleep(HELD_SECONDS)
                held, self._held = self._held, []
                for _, message in held:
                    await self._target.send(message)
        except ConnectionClosed:
            pass  # what was held is lost with the line


def _compact(message: str | bytes) -> bytes:
    start = message[:64]
    encoded = start.encode() if isinstance(start, str) else start
    return encoded.replace(b" ", b"")


async def _main(target: str, faults: Faults, seed: int) -> None:
    async with UnrulyProxy(target, faults, seed=seed).serve() as proxy:
        print(json.dumps({"url": proxy.url}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        print(json.dumps(asdict(proxy.stats)), flush=True)


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True)
    parser.add_argument("--seed", type=int, default=0)
    for name, value in asdict(Faults()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    given = vars(_arguments(sys.argv[1:]))
    chosen = {name: given[name] for name in asdict(Faults())}
    asyncio.run(_main(given["target"], replace(Faults(), **chosen), given["seed"]))
