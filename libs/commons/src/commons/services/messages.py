"""Posting a message: the one way in, whoever calls."""

import hmac
import json
import secrets
from dataclasses import dataclass
from hashlib import blake2b

from commons import keys
from commons.dal import IRepository, Item, NotExists, PutWrite, Table, Write
from commons.errors import ConflictError, InvalidRequestError, MessageNotFoundError
from commons.observability import metrics
from commons.records.idempotency_marker import IdempotencyMarker
from commons.schemas.caller import Caller
from commons.schemas.event import Event, MessageCreatedData
from commons.schemas.message import PostMessage
from commons.services.append import no_writes
from commons.services.base import BaseService
from commons.services.channel_reader import ChannelReader, Shown, own
from commons.services.event_log import Draft, EventLogService
from commons.services.membership import MembershipService


@dataclass(frozen=True, slots=True)
class Posted:
    """`duplicate`: the event was there before, nothing was written."""

    shown: Shown[Event]
    duplicate: bool

    @property
    def event(self) -> Event:
        return self.shown.content


class _DuplicateError(Exception):
    def __init__(self, marker: IdempotencyMarker) -> None:
        super().__init__("this clientMessageId was used before")
        self.marker = marker


def _digest(message: PostMessage, salt: bytes) -> bytes:
    request = json.dumps([message.text, message.reply_to], ensure_ascii=False)
    return blake2b(request.encode(), key=salt, digest_size=16).digest()


class MessagesService(BaseService):
    def __init__(
        self,
        repository: IRepository | None = None,
        *,
        event_log: EventLogService | None = None,
        membership: MembershipService | None = None,
    ) -> None:
        super().__init__(repository)
        self._event_log = event_log or EventLogService(self.repository)
        self._membership = membership or MembershipService(self.repository)
        self._reader = ChannelReader(self.repository)

    def post(self, channel_id: str, caller: Caller, message: PostMessage) -> Posted:
        """Appends the message; the same `client_message_id` again answers the first event.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            InvalidRequestError: `reply_to` is no message of the channel.
            ConflictError: the `client_message_id` was used for another text or `reply_to`.
        """

        def prepare() -> Draft:
            self._membership.require_member(channel_id, caller.user_id)
            self._require_message(channel_id, caller, message.reply_to)
            return Draft(
                sender=caller.as_sender(),
                client_message_id=message.client_message_id,
                data=MessageCreatedData(
                    text=message.text, reply_to=message.reply_to, metadata=message.metadata
                ),
                writes=(
                    no_writes
                    if message.client_message_id is None
                    else lambda seq: [self._marker(channel_id, caller, message, seq)]
                ),
                on_rejected=_refuse_duplicate,
                # What takes a member out is another event; what is replied to stays a message.
                outlasts_messages=True,
            )

        try:
            event = self._event_log.append(channel_id, prepare)
        except _DuplicateError as duplicate:
            marker = duplicate.marker
            first = self._reader.show(
                channel_id, caller.user_id, lambda: self._replay(channel_id, message, marker)
            )
            return Posted(first, duplicate=True)
        metrics.add_metric(name="MessageAppended", unit="Count", value=1)
        return Posted(own(event), duplicate=False)

    def _require_message(self, channel_id: str, caller: Caller, seq: int | None) -> None:
        if seq is None:
            return
        try:
            self._event_log.get_message(channel_id, seq)
        except MessageNotFoundError:
            # Of a channel that is closed and not cleared yet not even this is said.
            self._membership.open_channel(channel_id, caller.user_id)
            raise InvalidRequestError.of("replyTo", "is no message of this channel") from None

    def _marker(
        self, channel_id: str, caller: Caller, message: PostMessage, event_seq: int
    ) -> Write:
        salt = secrets.token_bytes(16)
        item: Item = {
            **keys.idempotency_marker_key(
                channel_id, caller.user_id, message.client_message_id or ""
            ),
            "event_seq": event_seq,
            "salt": salt,
            "digest": _digest(message, salt),
        }
        return PutWrite(Table.CHAT_EVENTS, item, NotExists("channel_id"))

    def _replay(self, channel_id: str, message: PostMessage, marker: IdempotencyMarker) -> Event:
        if marker.salt is not None and marker.digest is not None:
            digest = _digest(message, marker.salt)
            if not hmac.compare_digest(digest, marker.digest):
                raise ConflictError(
                    "This clientMessageId was used for a message with another text or replyTo."
                )
        return self._event_log.get(channel_id, marker.event_seq)


def _refuse_duplicate(_position: int, item: Item | None) -> None:
    if item is not None:
        raise _DuplicateError(IdempotencyMarker.model_validate(item))
