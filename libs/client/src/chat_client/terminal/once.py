"""One question, its reply on standard output: for scripts."""

import asyncio
import re
import sys
import textwrap
from enum import IntEnum
from typing import Final, TextIO

from chat_client.errors import AgentFailedError, ChatError
from chat_client.models import Channel
from chat_client.reply import ReplyStream
from chat_client.session import ChatSession
from chat_client.terminal.calls import arguments_text, visible, who_decides
from chat_client.tool_calls import ToolCall, ToolCalls, rule_in_force

SETTLING_SECONDS: Final = 1.0
"""Within which a reply that asks for several calls has said so, and somebody may have decided."""

NAME_LENGTH: Final = 60
MENTION: Final = re.compile(r"(?<!\w)@agent(?!\w)", re.IGNORECASE)


class Exit(IntEnum):
    """How a script is told what came of its question."""

    REPLIED = 0
    REFUSED = 1
    """Not connected, no such channel, a bad token, a message that was refused."""
    USAGE = 2
    NO_REPLY = 3
    """The agent failed, was stopped, or is not asked by this message."""
    TIMEOUT = 4
    WAITING = 5
    """The reply waits for somebody to approve a call."""
    INTERRUPTED = 130


class Once:
    """Asks a question and prints the reply, piece by piece where somebody watches.

    Args:
        seconds: how long to wait for the whole reply.
        out: takes the reply and nothing else.
        err: takes everything else.
    """

    def __init__(
        self,
        session: ChatSession,
        *,
        seconds: float,
        out: TextIO | None = None,
        err: TextIO | None = None,
    ) -> None:
        self._session = session
        self._seconds = seconds
        self._out = out or sys.stdout
        self._err = err or sys.stderr

    async def ask(self, text: str, channel_id: str | None) -> Exit:
        """In the channel, or in a new one whose id is told on `err`."""
        try:
            async with asyncio.timeout(self._seconds), self._session as session:
                channel = await self._channel(channel_id, text)
                if (silence := _why_silent(channel, text)) is not None:
                    return self._complain(silence, Exit.NO_REPLY)
                await session.subscribe(channel.channel_id, after=channel.last_seq)
                seq = await session.send(channel.channel_id, text)
                return await self._print_reply(channel, seq)
        except TimeoutError:
            return self._complain(f"No reply within {self._seconds:.0f} s.", Exit.TIMEOUT)
        except AgentFailedError as error:
            return self._complain(str(error), Exit.NO_REPLY)
        except ChatError as error:
            return self._complain(str(error), Exit.REFUSED)

    async def _channel(self, channel_id: str | None, text: str) -> Channel:
        client = self._session.client
        if channel_id is not None:
            return await client.get_channel(channel_id)
        name = " ".join(text.split())[:NAME_LENGTH] or "question"
        channel = await client.create_channel(name)
        print(f"channel {channel.channel_id}", file=self._err)
        return channel

    async def _print_reply(self, channel: Channel, seq: int) -> Exit:
        reply = self._session.reply(channel.channel_id, seq)
        printing = asyncio.ensure_future(self._print(reply))
        waiting = asyncio.ensure_future(self._pending(channel, seq))
        try:
            await asyncio.wait({printing, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not printing.done() and (calls := waiting.result()):
                return self._say_waiting(channel, calls)
            return await printing
        finally:
            printing.cancel()
            waiting.cancel()
            await asyncio.gather(printing, waiting, return_exceptions=True)

    async def _print(self, reply: ReplyStream) -> Exit:
        watched = self._out.isatty()
        text = ""
        async for delta in reply:
            text = delta.content
            if watched:
                print("\n" if delta.snapshot else "", delta.text, sep="", end="", file=self._out)
                self._out.flush()
        # Who does not watch gets the final text, not pieces of one that began anew.
        print("" if watched else text, file=self._out, flush=True)
        ending = reply.event.data.finish_reason if reply.event else None
        if ending == "cancelled":
            return self._complain("The reply was stopped.", Exit.NO_REPLY)
        if ending not in {"stop", None}:
            self._complain(f"The reply ended early: {ending}.", Exit.REPLIED)
        return Exit.REPLIED

    async def _pending(self, channel: Channel, seq: int) -> list[ToolCall]:
        """The calls that the reply waits with; none where it ended without one."""
        calls = ToolCalls()
        events = self._session.events(channel.channel_id)
        following = anext(events, None)
        upcoming = asyncio.ensure_future(following)
        try:
            while True:
                pending = [call for call in calls.of(seq) if call.is_pending]
                seconds = SETTLING_SECONDS if pending else None
                done, _ = await asyncio.wait({upcoming}, timeout=seconds)
                if not done:
                    return pending
                event = upcoming.result()
                if event is None:
                    return []
                calls.apply(event)
                upcoming = asyncio.ensure_future(anext(events, None))
        finally:
            upcoming.cancel()

    def _say_waiting(self, channel: Channel, calls: list[ToolCall]) -> Exit:
        if self._out.isatty():
            print(file=self._out, flush=True)
        for call in calls:
            rule = rule_in_force(call, channel.agent.approval)
            decides = who_decides(rule, "", call.expires_at)
            print(f"{visible(call.tool)} waits for approval ({decides}):", file=self._err)
            print(textwrap.indent(arguments_text(call), "  "), file=self._err)
        return self._complain(
            f"The reply goes on in channel {channel.channel_id} once that is decided.",
            Exit.WAITING,
        )

    def _complain(self, sentence: str, code: Exit) -> Exit:
        print(sentence, file=self._err)
        return code


def _why_silent(channel: Channel, text: str) -> str | None:
    """Why no reply would ever come."""
    if channel.agent.mode == "off":
        return "The agent is off in this channel."
    if channel.agent.mode == "mention" and not MENTION.search(text):
        return "In this channel the agent answers to @agent only."
    return None
