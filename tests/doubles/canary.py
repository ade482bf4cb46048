"""A word that may stand in storage and in answers, and in no log line, metric or problem."""

CANARY = "c4n4ry"


def canary(what: str) -> str:
    """A text, a token or an exception's message that must not get out."""
    return f"{CANARY}-{what}"
