"""What a person was shown of a call, as a value that the server compares."""

from collections.abc import Mapping
from hashlib import sha256

import rfc8785
from pydantic import JsonValue


def arguments_digest(arguments: Mapping[str, JsonValue]) -> str:
    """SHA-256 of a call's arguments as canonical JSON (RFC 8785), in lower-case hexadecimal.

    Raises:
        rfc8785.CanonicalizationError: a value has no canonical form.
    """
    return sha256(rfc8785.dumps(dict(arguments))).hexdigest()
