"""Reacting to messages with emoji."""

from contextlib import suppress
from typing import Final

from commons.dal import IRepository
from commons.errors import ConflictError
from commons.records.message_state import MessageState, Reaction
from commons.schemas.caller import Caller
from commons.schemas.event import EventType, ReactionData
from commons.services.base import BaseService
from commons.services.event_log import Draft, EventLogService
from commons.services.history import HistoryService
from commons.services.membership import MembershipService
from rest_api.services.unchanged import UnchangedError

MAX_EMOJI: Final = 20
MAX_REACTIONS: Final = 1_000


class ReactionsService(BaseService):
    """A reaction is one transaction: the event, and the message's state as its version was."""

    def __init__(self, repository: IRepository | None = None) -> None:
        super().__init__(repository)
        self._event_log = EventLogService(self.repository)
        self._history = HistoryService(self.repository)
        self._membership = MembershipService(self.repository)

    def add(self, channel_id: str, caller: Caller, seq: int, emoji: str) -> None:
        """Adds the caller's reaction; the same again writes no event.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            MessageNotFoundError: no message has that number.
            ConflictError: it was deleted, or has 20 other emoji or 1,000 reactions.
        """
        self._change(channel_id, caller, seq, ReactionData(target=seq, emoji=emoji), present=True)

    def remove(self, channel_id: str, caller: Caller, seq: int, emoji: str) -> None:
        """Takes the caller's reaction away; none there writes no event.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            MessageNotFoundError: no message has that number.
            ConflictError: it was deleted.
        """
        self._change(channel_id, caller, seq, ReactionData(target=seq, emoji=emoji), present=False)

    def _change(
        self, channel_id: str, caller: Caller, seq: int, data: ReactionData, *, present: bool
    ) -> None:
        event_type: EventType = "reaction.added" if present else "reaction.removed"

        def prepare() -> Draft:
            self._membership.open_channel(channel_id, caller.user_id)
            message = self._history.stored_message(channel_id, seq)
            if message.deleted:
                raise ConflictError("The message was deleted.")
            state = message.state
            reactions = (
                _with(state, data.emoji, caller.user_id)
                if present
                else _without(state, data.emoji, caller.user_id)
            )
            return Draft(
                type=event_type,
                sender=caller.as_sender(),
                data=data,
                writes=lambda _seq: [state.write(channel_id, {"reactions": reactions})],
            )

        with suppress(UnchangedError):
            self._event_log.append(channel_id, prepare)


def _with(state: MessageState, emoji: str, user_id: str) -> tuple[Reaction, ...]:
    users = {each.emoji: each.user_ids for each in state.reactions}
    if user_id in users.get(emoji, ()):
        raise UnchangedError
    if emoji not in users and len(users) >= MAX_EMOJI:
        raise ConflictError(f"A message has {MAX_EMOJI} different emoji at most.")
    if sum(map(len, users.values())) >= MAX_REACTIONS:
        raise ConflictError(f"A message has {MAX_REACTIONS} reactions at most.")
    users[emoji] = (*users.get(emoji, ()), user_id)
    return _reactions(users)


def _without(state: MessageState, emoji: str, user_id: str) -> tuple[Reaction, ...]:
    users = {each.emoji: each.user_ids for each in state.reactions}
    if user_id not in users.get(emoji, ()):
        raise UnchangedError
    users[emoji] = tuple(each for each in users[emoji] if each != user_id)
    return _reactions(users)


def _reactions(users: dict[str, tuple[str, ...]]) -> tuple[Reaction, ...]:
    return tuple(
        Reaction(emoji=emoji, user_ids=user_ids) for emoji, user_ids in users.items() if user_ids
    )
