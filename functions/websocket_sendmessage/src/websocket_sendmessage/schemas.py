"""The frame `sendmessage`."""

from typing import Literal

from commons.schemas.client_frames import ChannelId, ClientFrame
from commons.schemas.message import PostMessage


class SendMessage(ClientFrame, PostMessage):
    action: Literal["sendmessage"]
    channel_id: ChannelId
