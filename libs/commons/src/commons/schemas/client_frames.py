"""What the frames of clients share (CONTRACT, section 3)."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from commons.errors import ChannelNotFoundError
from commons.schemas.base import BaseSchema
from commons.schemas.channel import CHANNEL_ID_PATTERN

MAX_REQUEST_ID = 64

RequestId = Annotated[str, Field(max_length=MAX_REQUEST_ID)]


def _possible(channel_id: str) -> str:
    if not re.match(CHANNEL_ID_PATTERN, channel_id):
        raise ChannelNotFoundError
    return channel_id


ChannelId = Annotated[str, AfterValidator(_possible)]
"""What cannot be one raises ChannelNotFoundError (404), not a 422: it names no channel."""


class ClientFrame(BaseSchema):
    """`request_id` comes back in the answer; each action's schema says which `action` it is."""

    request_id: RequestId | None = None
