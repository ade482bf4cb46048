"""Prints everything that was and is said in a channel, for ever; a lost connection loses nothing.

python follow_a_channel.py REST_URL WEBSOCKET_URL TOKEN CHANNEL_ID
"""

import asyncio
import sys

from chat_client import ChatSession, MessageCreated, UnsubscribedError


async def main(rest_url: str, websocket_url: str, token: str, channel_id: str) -> None:
    async with ChatSession(rest_url, websocket_url, token=token) as session:
        await session.subscribe(channel_id)
        try:
            async for event in session.events(channel_id):
                if isinstance(event, MessageCreated):
                    print(f"{event.sender.name or event.sender.id}: {event.data.text}", flush=True)
        except UnsubscribedError as ended:
            print(f"The channel ended: {ended.reason}.")


asyncio.run(main(*sys.argv[1:5]))
