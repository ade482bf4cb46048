"""Keeps other people's log lines out of ours."""

import logging


def silence_libraries() -> None:
    """Only the product's own logger is heard from here on.

    The MCP SDK logs, at ERROR too, what it could not read, and the HTTP library addresses: results
    and arguments of tools, and what an operator put into a URL. Lambda's handler at the root would
    print them.
    """
    root = logging.getLogger()
    root.handlers.clear()
    root.addHandler(logging.NullHandler())
