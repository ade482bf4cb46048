"""The keys of every item, each composed by a named function (docs/data-model.md lists them)."""

from collections.abc import Mapping
from zlib import crc32

from commons.dal.interface import Key

MARKER_SEQ = 0
"""The sort key of an idempotency marker: event numbers begin at 1."""


def event_key(channel_id: str, seq: int) -> Key:
    return {"channel_id": channel_id, "seq": seq}


def idempotency_marker_key(channel_id: str, sender_id: str, client_message_id: str) -> Key:
    """A partition of its own: the channel's takes 1,000 WCU/s at most."""
    return {
        "channel_id": f"idem#{channel_id}#{sender_id}#{client_message_id}",
        "seq": MARKER_SEQ,
    }


def message_state_partition(channel_id: str) -> str:
    return f"{channel_id}#state"


def message_state_key(channel_id: str, seq: int) -> Key:
    """Twice the message's number: its reactions are next to it, and a page of both one query."""
    return {"channel_id": message_state_partition(channel_id), "seq": 2 * seq}


def message_reactions_key(channel_id: str, seq: int) -> Key:
    return {"channel_id": message_state_partition(channel_id), "seq": 2 * seq + 1}


def channel_partition(channel_id: str) -> str:
    return f"channel#{channel_id}"


def channel_key(channel_id: str) -> Key:
    return {"pk": channel_partition(channel_id), "sk": "meta"}


MEMBER_PREFIX = "member#"


def member_key(channel_id: str, user_id: str) -> Key:
    return {"pk": channel_partition(channel_id), "sk": f"{MEMBER_PREFIX}{user_id}"}


USER_CHANNEL_PREFIX = "channel#"


def user_partition(user_id: str) -> str:
    return f"user#{user_id}"


def user_channel_key(user_id: str, channel_id: str) -> Key:
    """The member row's twin: all channels of a user are one query."""
    return {"pk": user_partition(user_id), "sk": f"{USER_CHANNEL_PREFIX}{channel_id}"}


def request_key(user_id: str, idempotency_key: str) -> Key:
    """The marker of an `Idempotency-Key` on channel creation."""
    return {"pk": f"request#{user_id}#{idempotency_key}", "sk": "channel"}


GENERATION_PREFIX = "generation#"


def generation_prefix(question_seq: int) -> str:
    return f"{GENERATION_PREFIX}{question_seq:012d}#"


def generation_key(channel_id: str, question_seq: int, generation: int) -> Key:
    """Zero-padded: generations sort by question, then by number."""
    return {
        "pk": channel_partition(channel_id),
        "sk": f"{generation_prefix(question_seq)}{generation:06d}",
    }


def open_generations_partition(channel_id: str) -> str:
    """Apart from the channel's other rows: all of a channel that are open are one query."""
    return f"open#{channel_id}"


def open_generation_key(channel_id: str, question_seq: int, generation: int) -> Key:
    return {
        "pk": open_generations_partition(channel_id),
        "sk": f"{generation_prefix(question_seq)}{generation:06d}",
    }


def cancel_key(channel_id: str) -> Key:
    """Through which question replies are cancelled."""
    return {"pk": channel_partition(channel_id), "sk": "cancel"}


TOOL_SERVERS_PARTITION = "tools"
TOOL_SERVER_PREFIX = "server#"


def tool_server_key(server: str) -> Key:
    """What one tool server offers: all of a stack's are one query."""
    return {"pk": TOOL_SERVERS_PARTITION, "sk": f"{TOOL_SERVER_PREFIX}{server}"}


def tool_calls_partition(channel_id: str) -> str:
    return f"calls#{channel_id}"


def tool_call_key(channel_id: str, call_id: str) -> Key:
    return {"pk": tool_calls_partition(channel_id), "sk": f"call#{call_id}"}


def tool_calls_prefix(question_seq: int, generation: int | None = None) -> str:
    """Calls of a question, or of one of its replies: a call's id begins with them."""
    of_generation = "" if generation is None else f"{generation:06x}"
    return f"call#{question_seq:010x}{of_generation}"


def budget_key(scope: str, subject: str, day: str) -> Key:
    """Tokens spent on a day (`YYYY-MM-DD`, UTC) by a channel or a user."""
    return {"pk": f"budget#{scope}#{subject}", "sk": day}


def usage_partition(channel_id: str) -> str:
    return f"usage#{channel_id}"


def usage_key(channel_id: str, day: str, user_id: str, model_id: str) -> Key:
    return {"pk": usage_partition(channel_id), "sk": f"{day}#{user_id}#{model_id}"}


def rate_key(user_id: str, bucket: str) -> Key:
    return {"pk": f"rate#{user_id}", "sk": bucket}


TIMER_SHARDS = 4
"""Each is a query a minute and takes 250 timers a second: a put and a delete, in transactions."""


def timer_partition(shard: int) -> str:
    return f"timer#{shard}"


def timer_key(kind: str, subject: str, due: int) -> Key:
    """Sorted by when it is due: one query finds what is, however long nobody looked."""
    shard = crc32(f"{kind}#{subject}".encode()) % TIMER_SHARDS
    return {"pk": timer_partition(shard), "sk": f"{timer_moment(due)}#{kind}#{subject}"}


def timer_moment(moment: int) -> str:
    """Epoch seconds as they sort."""
    return f"{moment:012d}"


def subscription_partition(channel_id: str, shard: int = 0) -> str:
    """The first shard is the channel's own partition: most rooms have no other."""
    return f"{channel_id}#{shard}" if shard else channel_id


def channel_and_shard(subscription_partition: str) -> tuple[str, int]:
    channel_id, _, shard = subscription_partition.partition("#")
    return channel_id, int(shard or 0)


def subscription_shard(connection_id: str, shards: int) -> int:
    """Where a subscription that begins now is put, in a room of so many shards."""
    return crc32(connection_id.encode()) % shards


def subscription_key(channel_id: str, user_id: str, connection_id: str, shard: int = 0) -> Key:
    return {
        "channel_id": subscription_partition(channel_id, shard),
        "sk": f"{subscription_prefix(user_id)}{connection_id}",
    }


def shards_key(channel_id: str) -> Key:
    """Sorts before every subscription."""
    return {"channel_id": channel_id, "sk": "#"}


def backlog_key(channel_id: str) -> Key:
    """Sorts before every subscription, and after the row of the shards."""
    return {"channel_id": channel_id, "sk": "#backlog"}


def removals_key(channel_id: str) -> Key:
    return {"channel_id": f"removed#{channel_id}", "sk": SOLE}


def subscription_prefix(user_id: str) -> str:
    """A user id cannot hold `#`, so no user's prefix begins another's."""
    return f"{user_id}#"


def past_user(user_id: str) -> str:
    """Sorts after the user's subscriptions and before the next user's: `$` follows `#`."""
    return f"{user_id}$"


SOLE = "-"
"""The sort key where a partition holds one item."""


def connection_key(connection_id: str) -> Key:
    return {"channel_id": f"conn#{connection_id}", "sk": SOLE}


def user_connections_partition(user_id: str) -> str:
    return f"user#{user_id}"


def user_connection_key(user_id: str, connection_id: str) -> Key:
    return {"channel_id": user_connections_partition(user_id), "sk": connection_id}


def presence_key(channel_id: str, user_id: str) -> Key:
    """What the channel was told of whether the user is online (docs/adr/0054)."""
    return {"channel_id": f"presence#{channel_id}", "sk": user_id}


TYPING_PREFIX = "typing#"


def typing_key(channel_id: str, user_id: str) -> Key:
    """What the channel was last told of the user's typing."""
    return {"channel_id": f"{TYPING_PREFIX}{channel_id}", "sk": user_id}


def typing_of(item: Mapping[str, object]) -> tuple[str, str]:
    """The channel and the user of an item with a `typing_key`."""
    return str(item["channel_id"]).removeprefix(TYPING_PREFIX), str(item["sk"])


def ticket_key(ticket_digest: str) -> Key:
    return {"channel_id": f"ticket#{ticket_digest}", "sk": SOLE}
