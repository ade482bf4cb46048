"""What happened to a message since it was created, as the chat_events table holds it."""

from commons import keys
from commons.dal.interface import Compare, Condition, Item, NotExists, PutWrite, Table, Write
from commons.records.base import StoredModel


class Reaction(StoredModel):
    """An emoji and who reacted with it, in the order they did."""

    emoji: str
    user_ids: tuple[str, ...]


class MessageState(StoredModel):
    """What happened to a message: `(C#state, seq)`, only of those to which anything did.

    Attributes:
        version: counts the changes; each is conditional on it, so that they meet in order.
        edits: numbers of the `message.edited` events.
        text: as of the last edit.
    """

    seq: int
    version: int = 0
    edits: tuple[int, ...] = ()
    text: str | None = None
    edited_at: str | None = None
    deleted_at: str | None = None
    reactions: tuple[Reaction, ...] = ()

    def write(self, channel_id: str, changes: Item) -> Write:
        """Stores `changes` over this state, if it is still this one."""
        unchanged: Condition = (
            Compare("version", "=", self.version) if self.version else NotExists("channel_id")
        )
        changed = self.model_copy(update={**changes, "version": self.version + 1})
        stored = changed.model_dump(exclude_none=True, exclude_defaults=True)
        stored |= keys.message_state_key(channel_id, self.seq)
        for name in ("edits", "reactions"):
            if name in stored:
                stored[name] = list(stored[name])
        for reaction in stored.get("reactions", ()):
            reaction["user_ids"] = list(reaction["user_ids"])
        return PutWrite(Table.CHAT_EVENTS, stored, unchanged)
