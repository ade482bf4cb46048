"""Decisions about calls of tools, as they go over the wire."""

from typing import Annotated, Literal

from pydantic import StringConstraints

type Decision = Literal["approve", "deny"]

ArgumentsDigest = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""In hexadecimal; whatever is none is not that of the call."""

CallId = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""Whatever is none names no call."""
