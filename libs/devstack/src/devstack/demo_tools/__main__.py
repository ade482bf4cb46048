"""`python -m devstack.demo_tools --port 4569 --notes FILE`."""

import argparse
from pathlib import Path

import uvicorn

from devstack.demo_tools.server import build_app


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="devstack.demo_tools", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--notes", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _arguments()
    uvicorn.run(
        build_app(arguments.notes),
        host="127.0.0.1",
        port=arguments.port,
        log_level="warning",
        timeout_graceful_shutdown=1,
        ws="none",
    )
