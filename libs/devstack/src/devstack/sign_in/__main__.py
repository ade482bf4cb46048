"""`python -m devstack.sign_in --port 4568 --emulator-port 4566 --local-dir .local`."""

import argparse
import contextlib
from pathlib import Path

from devstack.config import LocalStackConfig
from devstack.local_stack import LocalStack
from devstack.sign_in.server import SignInServer
from devstack.users import DEMO_USERS


def main() -> None:
    parser = argparse.ArgumentParser(prog="devstack.sign_in", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--emulator-port", type=int, required=True)
    parser.add_argument("--local-dir", type=Path, required=True)
    arguments = parser.parse_args()
    stack = LocalStack(
        LocalStackConfig(port=arguments.emulator_port, local_dir=arguments.local_dir)
    )

    def token_of(user: str) -> str:
        return stack.users(stack.outputs()).token(user)

    hosts = ("127.0.0.1", "localhost")
    server = SignInServer(
        arguments.port,
        origins=[f"http://{host}:{arguments.emulator_port}" for host in hosts],
        users=DEMO_USERS,
        token_of=token_of,
    )
    server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
