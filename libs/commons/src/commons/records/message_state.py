"""What happened to a message since it was created, as the chat_events table holds it.

Two rows, because reactions are many and large: an edit rewrites none of them, a reaction no text.
"""

from commons import keys
from commons.dal.interface import (
    Compare,
    Condition,
    ConditionCheck,
    DeleteWrite,
    Item,
    NotExists,
    PutWrite,
    Table,
    Write,
)
from commons.records.base import StoredModel


class MessageState(StoredModel):
    """Edits and deletion of a message; only of one that was edited or deleted.

    The text as it stands is that of the last edit's event.

    Attributes:
        version: counts the changes; each is conditional on it, so that they meet in order.
        edits: numbers of the `message.edited` events.
    """

    version: int = 0
    edits: tuple[int, ...] = ()
    edited_at: str | None = None
    deleted_at: str | None = None

    def write(self, channel_id: str, seq: int, changes: Item) -> Write:
        """Stores `changes` over this state, if it is still this one."""
        changed = self.model_copy(update={**changes, "version": self.version + 1})
        stored = changed.model_dump(exclude_none=True, exclude_defaults=True)
        if "edits" in stored:
            stored["edits"] = list(stored["edits"])
        stored |= keys.message_state_key(channel_id, seq)
        return PutWrite(Table.CHAT_EVENTS, stored, _is_version(self.version))


class Reaction(StoredModel):
    """An emoji and who reacted with it, in the order they did."""

    emoji: str
    user_ids: tuple[str, ...]


class MessageReactions(StoredModel):
    """The reactions to a message; only of one that has or had any.

    Attributes:
        version: as `MessageState.version`.
    """

    version: int = 0
    reactions: tuple[Reaction, ...] = ()

    def writes(
        self, channel_id: str, seq: int, reactions: tuple[Reaction, ...]
    ) -> tuple[Write, Write]:
        """Stores `reactions` over these, if they are still these and the message is there."""
        stored: Item = {
            **keys.message_reactions_key(channel_id, seq),
            "version": self.version + 1,
            "reactions": [
                {"emoji": each.emoji, "user_ids": list(each.user_ids)} for each in reactions
            ],
        }
        return (
            PutWrite(Table.CHAT_EVENTS, stored, _is_version(self.version)),
            ConditionCheck(
                Table.CHAT_EVENTS, keys.message_state_key(channel_id, seq), NotExists("deleted_at")
            ),
        )


def reactions_removal(channel_id: str, seq: int) -> Write:
    return DeleteWrite(Table.CHAT_EVENTS, keys.message_reactions_key(channel_id, seq))


def _is_version(version: int) -> Condition:
    return Compare("version", "=", version) if version else NotExists("channel_id")
