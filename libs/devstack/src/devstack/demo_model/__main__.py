"""`python -m devstack.demo_model --port 4567`."""

import argparse
import asyncio
import contextlib
import signal

from devstack.demo_model.server import start


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="devstack.demo_model", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--word-delay-ms", type=int, default=100)
    return parser.parse_args()


async def _main(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await start(arguments.host, arguments.port, word_delay_ms=arguments.word_delay_ms)
    port = server.sockets[0].getsockname()[1]
    print(f"demo model on http://{arguments.host}:{port}", flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(_arguments()))
