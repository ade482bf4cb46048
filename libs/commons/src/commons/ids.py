"""Identifiers that the product makes."""

import secrets
from hashlib import sha256

AGENT_ID = "#agent"
SYSTEM_ID = "#system"


def new_subscription_id() -> str:
    """8 characters: tells the subscriptions of one connection to one channel from each other."""
    return secrets.token_urlsafe(6)


def new_channel_id() -> str:
    """22 characters of `[A-Za-z0-9_-]`, 128 bits: not to be guessed, never holds `#`.

    None begins with a dash, which a command line takes for an option.
    """
    while (channel_id := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return channel_id


CALL_ID_PATTERN = r"^[0-9a-f]{52}\Z"


def tool_call_id(
    channel_id: str, question_seq: int, generation: int, step: int, position: int
) -> str:
    """52 hexadecimal digits, the same for the same place in the same reply.

    They begin with the place, by which the calls of a question sort together. The rest tells
    channels apart: tool servers get the id as idempotency key. Nothing of the arguments is in it:
    it stays when they are deleted.
    """
    place = f"{question_seq:010x}{generation:06x}{step:02x}{position:02x}"
    return place + sha256(f"{channel_id}#{place}".encode()).hexdigest()[:32]
