"""`poe chat`: the SDK's terminal client as a user of the running stack."""

import sys

from chat_client.terminal import run
from devstack.errors import DevstackError
from devstack.outputs import Outputs
from devstack.users import Users


def chat_as(
    users: Users,
    outputs: Outputs,
    *,
    user: str,
    channel_id: str | None,
    text: str | None,
    seconds: float,
) -> int:
    """Full-screen, or, with a text, one question; answers the exit code."""

    def token() -> str:
        return users.token(user)

    if text is None:
        failure = run.talk(
            outputs.rest_url, outputs.websocket_url, token=token, channel_id=channel_id
        )
        if failure is not None:
            raise DevstackError(str(failure))
        return 0
    return run.ask(
        outputs.rest_url,
        outputs.websocket_url,
        token=token,
        text=sys.stdin.read().strip() if text == "-" else text,
        channel_id=channel_id,
        seconds=seconds,
    )
