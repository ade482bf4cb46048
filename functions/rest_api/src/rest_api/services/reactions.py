"""Reacting to messages with emoji."""

from collections.abc import Callable
from typing import Final

from commons.dal import IRepository
from commons.errors import ConflictError
from commons.records.message_state import MessageReactions, Reaction
from commons.schemas.caller import Caller
from commons.schemas.event import ReactionAddedData, ReactionRemovedData
from commons.services.base import BaseService
from commons.services.event_log import Draft, EventLogService
from commons.services.history import HistoryService
from commons.services.membership import MembershipService, still_member

MAX_EMOJI: Final = 20
MAX_REACTIONS: Final = 1_000


class ReactionsService(BaseService):
    """A reaction is one transaction: the event, and the message's reactions as their version was."""

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
        data = ReactionAddedData(target=seq, emoji=emoji)
        self._change(
            channel_id, caller, data, lambda current: _with(current, emoji, caller.user_id)
        )

    def remove(self, channel_id: str, caller: Caller, seq: int, emoji: str) -> None:
        """Takes the caller's reaction away; none there writes no event.

        Raises:
            ChannelNotFoundError: no such channel, or the caller is no member of it.
            MessageNotFoundError: no message has that number.
            ConflictError: it was deleted.
        """
        data = ReactionRemovedData(target=seq, emoji=emoji)
        self._change(
            channel_id, caller, data, lambda current: _without(current, emoji, caller.user_id)
        )

    def _change(
        self,
        channel_id: str,
        caller: Caller,
        data: ReactionAddedData | ReactionRemovedData,
        changed: Callable[[MessageReactions], tuple[Reaction, ...] | None],
    ) -> None:
        def prepare() -> Draft | None:
            member = self._membership.open_channel(channel_id, caller.user_id).member
            message = self._history.stored_message(channel_id, data.target)
            if message.deleted:
                raise ConflictError("The message was deleted.")
            reactions = changed(message.reactions)
            if reactions is None:
                return None
            return Draft(
                sender=caller.as_sender(),
                data=data,
                writes=lambda _seq: [
                    *message.reactions.writes(channel_id, data.target, reactions),
                    still_member(member),
                ],
                holds_its_reasons=True,
            )

        self._event_log.append(channel_id, prepare, goes_first=True)


def _with(current: MessageReactions, emoji: str, user_id: str) -> tuple[Reaction, ...] | None:
    """With the user's reaction; None where it is there."""
    users = {each.emoji: each.user_ids for each in current.reactions}
    if user_id in users.get(emoji, ()):
        return None
    if emoji not in users and len(users) >= MAX_EMOJI:
        raise ConflictError(f"A message has {MAX_EMOJI} different emoji at most.")
    if sum(map(len, users.values())) >= MAX_REACTIONS:
        raise ConflictError(f"A message has {MAX_REACTIONS} reactions at most.")
    users[emoji] = (*users.get(emoji, ()), user_id)
    return _reactions(users)


def _without(current: MessageReactions, emoji: str, user_id: str) -> tuple[Reaction, ...] | None:
    """Without the user's reaction; None where there is none."""
    users = {each.emoji: each.user_ids for each in current.reactions}
    if user_id not in users.get(emoji, ()):
        return None
    users[emoji] = tuple(each for each in users[emoji] if each != user_id)
    return _reactions(users)


def _reactions(users: dict[str, tuple[str, ...]]) -> tuple[Reaction, ...]:
    return tuple(
        Reaction(emoji=emoji, user_ids=user_ids) for emoji, user_ids in users.items() if user_ids
    )
