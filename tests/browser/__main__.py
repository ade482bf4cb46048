"""`python -m tests.browser`: the page over the playground, for whoever works on it."""

import os
import sys
import time

from commons.services import base


def main() -> None:
    os.environ |= {
        "WEBSOCKET_CALLBACK_URL": "http://127.0.0.1:9",
        "JWT_ISSUER": "https://issuer.example",
        "JWT_AUDIENCE": "client",
        "JWT_JWKS_URL": "http://127.0.0.1:9/jwks.json",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nobody",
        "POWERTOOLS_LOG_LEVEL": "ERROR",
    }
    from tests.browser.playground import Playground  # noqa: PLC0415 - reads the environment

    playground = Playground(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    base.default_repository = lambda: playground.repository  # type: ignore[assignment]  # a stand-in
    with playground.running():
        print(playground.url, flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
