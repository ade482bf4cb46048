"""Keeps a channel subscribed, and its log without a gap, over all connections to come."""

import asyncio
from typing import Final

from chat_client.backoff import Backoff
from chat_client.channel_log import Question, Subscribe, Sync
from chat_client.connection import Connection, ConnectionLostError
from chat_client.errors import ChatError, ProtocolError, UnsubscribedError
from chat_client.frames import SyncFrame
from chat_client.link import THROTTLED, Link
from chat_client.subscription import Subscription

NOT_FOUND: Final = 404


async def keep_subscribed(subscription: Subscription, link: Link, backoff: Backoff) -> None:
    """Asks what the channel's log wants to be asked, for as long as the subscription lasts."""
    failures = 0
    while not subscription.has_ended:
        subscription.wake.clear()
        connection = link.connection
        question = subscription.log.ask(subscription.events.room) if connection else None
        if connection is None or question is None:
            await subscription.wake.wait()
            continue
        try:
            helped = await _ask(connection, subscription, question)
        except ConnectionLostError:
            link.lost(connection)
            subscription.log.detached()
            continue
        except ChatError as error:
            helped = False
            if error.status not in THROTTLED:
                subscription.end(_end_of(subscription, error))
            subscription.log.failed()
        failures = 0 if helped else failures + 1
        if failures:
            await asyncio.sleep(backoff.wait(failures))


async def _ask(connection: Connection, subscription: Subscription, question: Question) -> bool:
    """Whether the answer brought the channel further."""
    match question:
        case Subscribe(after=after):
            ack = await connection.ask_ack(
                "subscribe", channelId=subscription.channel_id, after=after
            )
            subscription.log.subscribed(ack.through, ack.has_more)
            if ack.online is not None:
                subscription.take_online(ack.online)
            if not subscription.ready.done():
                subscription.ready.set_result(None)
            return True
        case Sync(after=after, limit=limit):
            page = await connection.ask(
                "sync", channelId=subscription.channel_id, after=after, limit=limit
            )
            if not isinstance(page, SyncFrame):
                raise ProtocolError(f"sync was answered by a {page.type} frame.")
            return subscription.take_page(page)


def _end_of(subscription: Subscription, error: ChatError) -> ChatError:
    """What readers are told when a question about the channel is refused for good."""
    if error.status == NOT_FOUND and subscription.ready.done():
        return UnsubscribedError(subscription.channel_id, "gone")
    return error
