"""Identifiers that the product makes."""

import secrets

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
