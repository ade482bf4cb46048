"""Cursors: opaque to the caller, bound to one list, and useless when changed."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from functools import cached_property
from hashlib import sha256

from commons.errors import MalformedRequestError
from commons.records.base import StoredModel

MAX_CURSOR = 1_024
_MAC_BYTES = 16


class ListPosition(StoredModel):
    """Past an id of a list that is in the order of ids."""

    after: str


class CursorCodec:
    """Signs where a list goes on.

    Args:
        secret: returns the signing key; called once, at the first cursor.
    """

    def __init__(self, secret: Callable[[], bytes]) -> None:
        self._fetch_secret = secret

    def encode(self, scope: str, position: StoredModel) -> str:
        """A cursor that `decode` takes for the same `scope` (the list, and whose) only."""
        payload = position.model_dump_json().encode()
        return urlsafe_b64encode(self._mac(scope, payload) + payload).decode().rstrip("=")

    def decode[Position: StoredModel](
        self, scope: str, cursor: str, schema: type[Position]
    ) -> Position:
        """The position.

        Raises:
            MalformedRequestError: the cursor was not made here for this list.
        """
        if len(cursor) > MAX_CURSOR or not cursor.isascii():
            raise _bad_cursor()
        try:
            signed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except ValueError:
            raise _bad_cursor() from None
        mac, payload = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        canonical = urlsafe_b64encode(signed).decode().rstrip("=") == cursor
        if not canonical or not hmac.compare_digest(mac, self._mac(scope, payload)):
            raise _bad_cursor()
        return schema.model_validate_json(payload)

    def encode_list(self, scope: str, after: str | None) -> str | None:
        """A cursor past an id; None at the end of the list."""
        return None if after is None else self.encode(scope, ListPosition(after=after))

    def decode_list(self, scope: str, cursor: str | None) -> str | None:
        """The id that a list goes on past; None where it begins.

        Raises:
            MalformedRequestError: the cursor was not made here for this list.
        """
        return None if cursor is None else self.decode(scope, cursor, ListPosition).after

    @cached_property
    def _secret(self) -> bytes:
        return self._fetch_secret()

    def _mac(self, scope: str, payload: bytes) -> bytes:
        signed = scope.encode() + b"\0" + payload
        return hmac.new(self._secret, signed, sha256).digest()[:_MAC_BYTES]


def _bad_cursor() -> MalformedRequestError:
    return MalformedRequestError("The cursor is not one of this list's.")
