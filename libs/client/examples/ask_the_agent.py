"""Asks the agent one question and prints the reply as it is written.

python ask_the_agent.py REST_URL WEBSOCKET_URL TOKEN "What can you do?"
"""

import asyncio
import sys

from chat_client import ChatSession


async def main(rest_url: str, websocket_url: str, token: str, question: str) -> None:
    async with ChatSession(rest_url, websocket_url, token=token) as session:
        channel = await session.client.create_channel("questions")
        await session.subscribe(channel.channel_id)
        seq = await session.send(channel.channel_id, question)
        async for delta in session.reply(channel.channel_id, seq):
            print(delta.text, end="", flush=True)
        print()


asyncio.run(main(*sys.argv[1:5]))
