"""What a channel is, in a few dozen lines of plain Python: the log's specification.

Every operation happens at one instant. What the services do to storage, whatever crashes, repeats
and meets, must look like these operations in some order.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Literal

from commons.errors import (
    ChannelNotFoundError,
    ChatError,
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    MessageNotFoundError,
    NotFoundError,
)
from commons.schemas.event import Role

type Data = dict[str, object]


@dataclass(frozen=True)
class Post:
    user: str
    text: str
    client_message_id: str | None
    reply_to: int | None


@dataclass(frozen=True)
class Edit:
    user: str
    seq: int
    text: str


@dataclass(frozen=True)
class Delete:
    user: str
    seq: int


@dataclass(frozen=True)
class React:
    user: str
    seq: int
    emoji: str
    present: bool


@dataclass(frozen=True)
class PutMember:
    user: str
    subject: str
    role: Role


@dataclass(frozen=True)
class RemoveMember:
    user: str
    subject: str


@dataclass(frozen=True)
class MarkRead:
    user: str
    seq: int


@dataclass(frozen=True)
class Close:
    user: str


type Operation = Post | Edit | Delete | React | PutMember | RemoveMember | MarkRead | Close


@dataclass(frozen=True)
class Posted:
    seq: int
    duplicate: bool


type Outcome = Posted | Literal["done"] | int
"""Where an operation is refused: the HTTP status, which is what a client goes by."""


@dataclass
class Logged:
    type: str
    sender: str
    data: Data
    client_message_id: str | None = None


@dataclass
class MessageModel:
    seq: int
    sender: str
    text: str
    reply_to: int | None
    client_message_id: str | None = None
    edits: list[int] = field(default_factory=list)
    deleted: bool = False
    reactions: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class MemberModel:
    role: Role
    read_seq: int = 0


@dataclass
class Used:
    """What a `clientMessageId` was used for; `text` is None once the message is deleted."""

    seq: int
    text: str | None
    reply_to: int | None


@dataclass
class ChannelModel:
    """A channel as anybody may find it."""

    members: dict[str, MemberModel]
    events: list[Logged] = field(default_factory=list)
    messages: dict[int, MessageModel] = field(default_factory=dict)
    used: dict[tuple[str, str], Used] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    closed: bool = False

    def visible(self) -> object:
        """What a reader can tell two channels apart by."""
        messages = [
            (each.seq, each.sender, each.text, each.reply_to, each.deleted, each.reactions)
            for each in sorted(self.messages.values(), key=lambda message: message.seq)
        ]
        members = {} if self.closed else self.members
        return self.closed, self.events, members, messages

    def texts_to_be_gone(self) -> set[str]:
        """Deleted texts, but for those that another message says as well."""
        return self.erased - {str(event.data.get("text")) for event in self.events}

    def after(self, operation: Operation) -> "tuple[ChannelModel, Outcome]":
        """The channel once the operation was made, and its answer; this one stays as it is."""
        changed = deepcopy(self)
        try:
            return changed, changed._apply(operation)
        except ChatError as error:
            return self, error.status

    def _apply(self, operation: Operation) -> Outcome:
        if self.closed or operation.user not in self.members:
            raise ChannelNotFoundError
        match operation:
            case Post():
                return self._post(operation)
            case Edit():
                self._edit(operation)
            case Delete():
                self._delete(operation)
            case React():
                self._react(operation)
            case PutMember():
                self._put_member(operation)
            case RemoveMember():
                self._remove_member(operation)
            case MarkRead():
                self._mark_read(operation)
            case Close():
                self._close(operation)
        return "done"

    def _append(
        self, event_type: str, sender: str, data: Data, client_message_id: str | None = None
    ) -> int:
        self.events.append(Logged(event_type, sender, data, client_message_id))
        return len(self.events)

    def _message(self, seq: int) -> MessageModel:
        if seq not in self.messages:
            raise MessageNotFoundError
        return self.messages[seq]

    def _post(self, post: Post) -> Posted:
        if post.reply_to is not None and post.reply_to not in self.messages:
            raise InvalidRequestError.of("replyTo", "")
        if post.client_message_id is not None:
            used = self.used.get((post.user, post.client_message_id))
            if used is not None:
                if used.text is not None and (used.text, used.reply_to) != (
                    post.text,
                    post.reply_to,
                ):
                    raise ConflictError("")
                return Posted(used.seq, duplicate=True)
        data: Data = {"text": post.text}
        if post.reply_to is not None:
            data["replyTo"] = post.reply_to
        seq = self._append("message.created", post.user, data, post.client_message_id)
        self.messages[seq] = MessageModel(
            seq, post.user, post.text, post.reply_to, post.client_message_id
        )
        if post.client_message_id is not None:
            self.used[post.user, post.client_message_id] = Used(seq, post.text, post.reply_to)
        return Posted(seq, duplicate=False)

    def _edit(self, edit: Edit) -> None:
        message = self._message(edit.seq)
        if message.sender != edit.user:
            raise ForbiddenError("")
        if message.deleted:
            raise ConflictError("")
        if message.text == edit.text:
            return
        data: Data = {"target": edit.seq, "text": edit.text}
        message.edits.append(self._append("message.edited", edit.user, data))
        message.text = edit.text

    def _delete(self, delete: Delete) -> None:
        message = self._message(delete.seq)
        if message.sender != delete.user and self.members[delete.user].role != "owner":
            raise ForbiddenError("")
        if message.deleted:
            return
        for seq in (message.seq, *message.edits):
            data = self.events[seq - 1].data
            self.erased.add(str(data["text"]))
            data |= {"text": "", "redacted": True}
        if message.client_message_id is not None:
            self.used[message.sender, message.client_message_id].text = None
        message.deleted, message.text, message.reactions = True, "", {}
        self._append("message.deleted", delete.user, {"target": delete.seq})

    def _react(self, react: React) -> None:
        message = self._message(react.seq)
        if message.deleted:
            raise ConflictError("")
        users = message.reactions.get(react.emoji, [])
        if (react.user in users) == react.present:
            return
        if react.present:
            message.reactions[react.emoji] = [*users, react.user]
        else:
            users.remove(react.user)
            if not users:
                del message.reactions[react.emoji]
        event_type = "reaction.added" if react.present else "reaction.removed"
        self._append(event_type, react.user, {"target": react.seq, "emoji": react.emoji})

    def _require_another_owner(self, leaving: str) -> None:
        owners = {user for user, member in self.members.items() if member.role == "owner"}
        if owners == {leaving}:
            raise ConflictError("")

    def _put_member(self, put: PutMember) -> None:
        if self.members[put.user].role != "owner":
            raise ForbiddenError("")
        data: Data = {"userId": put.subject, "role": put.role}
        member = self.members.get(put.subject)
        if member is None:
            seq = self._append("member.joined", put.user, data)
            self.members[put.subject] = MemberModel(put.role, read_seq=seq)
        elif member.role != put.role:
            self._require_another_owner(put.subject)
            member.role = put.role
            self._append("member.updated", put.user, data)

    def _remove_member(self, remove: RemoveMember) -> None:
        if remove.subject != remove.user and self.members[remove.user].role != "owner":
            raise ForbiddenError("")
        if remove.subject not in self.members:
            raise NotFoundError("")
        self._require_another_owner(remove.subject)
        del self.members[remove.subject]
        self._append("member.left", remove.user, {"userId": remove.subject})

    def _close(self, close: Close) -> None:
        if self.members[close.user].role != "owner":
            raise ForbiddenError("")
        self._append("channel.deleted", close.user, {})
        self.closed = True

    def _mark_read(self, mark: MarkRead) -> None:
        member = self.members[mark.user]
        if mark.seq <= member.read_seq:
            return
        if mark.seq > len(self.events):
            raise InvalidRequestError.of("seq", "")
        member.read_seq = mark.seq


type Answered = tuple[ChannelModel, tuple[Outcome, ...]]


def in_turn(channel: ChannelModel, *operations: Operation) -> Answered:
    """The channel after the operations one after the other, and the answer to each."""
    outcomes: list[Outcome] = []
    for operation in operations:
        channel, outcome = channel.after(operation)
        outcomes.append(outcome)
    return channel, tuple(outcomes)
