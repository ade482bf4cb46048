"""The rows that a membership is: the member's and its twin under the user."""

from commons import keys
from commons.dal import DeleteWrite, Item, NotExists, PutWrite, Table, Write
from commons.records.channel import MemberRecord


def new_member_writes(member: MemberRecord) -> list[Write]:
    """Puts both rows, if the user is no member."""
    row: Item = {
        **keys.member_key(member.channel_id, member.user_id),
        **member.model_dump(exclude_none=True),
    }
    twin: Item = {
        **keys.user_channel_key(member.user_id, member.channel_id),
        "channel_id": member.channel_id,
        "user_id": member.user_id,
    }
    return [
        PutWrite(Table.CHANNELS, row, NotExists("pk")),
        PutWrite(Table.CHANNELS, twin),
    ]


def twin_removal(channel_id: str, user_id: str) -> Write:
    return DeleteWrite(Table.CHANNELS, keys.user_channel_key(user_id, channel_id))
