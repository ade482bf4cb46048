"""The channel that is shown: its lines, its replies in progress, who is there and types."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from textual.widgets import Static

from chat_client.digest import arguments_digest
from chat_client.errors import ChatError
from chat_client.models import (
    AgentFailed,
    Channel,
    ChannelUpdated,
    Event,
    MemberUpdated,
    Message,
    MessageCreated,
    Sender,
    ToolRequested,
)
from chat_client.operations import new_id
from chat_client.replies import Delta
from chat_client.session import ChatSession
from chat_client.terminal.calls import visible, who_decides
from chat_client.terminal.timeline import Line, Timeline
from chat_client.terminal.views import CallView, History, LineView, ReplyView
from chat_client.tool_calls import ToolCall, may_decide, rule_in_force

if TYPE_CHECKING:
    from chat_client.terminal.app import ChatApp

PAGE: Final = 50
LOG_PAGE: Final = 100
CALLS_WITHIN: Final = 1_000
"""The newest events of a page of history in which calls are looked for."""

TYPING_LASTS: Final = 6.0
"""Seconds after which nobody types any more, unless said again."""

PEOPLE_SHOWN: Final = 4


class Conversation:
    """Shows one channel in the app's History until it is closed."""

    def __init__(self, app: "ChatApp", session: ChatSession, channel: Channel, me: str) -> None:
        self.channel_id = channel.channel_id
        self._app = app
        self._session = session
        self._me = me
        self._history = app.query_one(History)
        self._timeline = Timeline()
        self._views: dict[int, LineView] = {}
        self._replies: dict[tuple[int, int], ReplyView] = {}
        self._ended: set[tuple[int, int]] = set()
        self._pending: dict[str, LineView] = {}
        self._typing: dict[str, float] = {}
        self._online: set[str] = set()
        self._has_older = True
        self._loading = asyncio.Lock()
        self._read_through = channel.read_seq
        self._last_seq = channel.last_seq
        self._is_owner = channel.role == "owner"
        self._approval = channel.agent.approval
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: list[Event] | None = []

    @property
    def is_answering(self) -> bool:
        """Whether a reply is being written, or waits."""
        return bool(self._replies) or bool(self._timeline.pending())

    async def open(self) -> None:
        """Loads the newest messages and follows what comes."""
        await self._history.remove_children()
        self._history.anchor()
        await self.load_older()
        waiting, self._waiting = self._waiting or [], None
        for event in waiting:
            await self.take(event)
        await self._session.subscribe(self.channel_id, after=self._last_seq)
        self._follow(self._follow_deltas())
        self._follow(self._follow_typing())
        self._follow(self._follow_presence())
        self._show_hint()
        await self._mark_read()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._history.remove_children()
        self._app.show_people([])
        self._app.show_hint("")

    async def load_older(self) -> None:
        """The page before the first line that is shown; what is on the screen stays there."""
        if not self._has_older or self._loading.locked():
            return
        async with self._loading:
            first = self._timeline.first
            page = await self._session.client.list_messages(
                self.channel_id, limit=PAGE, before=first
            )
            self._has_older = page.next_cursor is not None and bool(page.items)
            events = await self._log_of(page.items, first)
            new = self._timeline.load(page.items, events)
            height = self._history.max_scroll_y
            await self._mount_before(new)
            if first is not None:
                self._history.call_after_refresh(self._stay, height)

    async def _log_of(self, messages: list[Message], before: int | None) -> list[Event]:
        """What happened between these messages and those that are shown."""
        through = before - 1 if before is not None else self._last_seq
        after = max(messages[0].seq - 1 if messages else through, through - CALLS_WITHIN)
        events: list[Event] = []
        while after < through:
            page = await self._session.client.list_events(
                self.channel_id, after=after, limit=LOG_PAGE
            )
            events += [event for event in page.items if event.seq <= through]
            after = page.items[-1].seq if page.items else through
        return events

    def may_decide(self, call: ToolCall) -> bool:
        """Whether the user has the right that the call asks for: the server judges."""
        rule = rule_in_force(call, self._approval)
        is_requester = self._asker(call) == self._me
        return call.is_pending and may_decide(
            rule, is_owner=self._is_owner, is_requester=is_requester
        )

    async def decide(self, call: ToolCall, decision: Literal["approve", "deny"]) -> None:
        """About the call as it is shown."""
        event = await self._session.client.decide_call(
            self.channel_id,
            call.call_id,
            decision,
            arguments_digest=arguments_digest(call.arguments),
        )
        for seq in self._timeline.apply(event):
            await self._show(seq)
        self._show_hint()

    def _asker(self, call: ToolCall) -> str:
        question = self._timeline.find(call.target)
        return question.sender.id if question is not None and question.sender is not None else ""

    async def take(self, event: Event) -> None:
        """An event of this channel."""
        if self._waiting is not None:
            self._waiting.append(event)
            return
        self._note_settings(event)
        seqs = self._timeline.apply(event)
        # In one step: what takes another's place does not flicker.
        with self._app.batch_update():
            for seq in seqs:
                await self._show(seq)
            self._tell_calls()
            if isinstance(event, MessageCreated):
                await self._end_waiting(event)
            elif isinstance(event, AgentFailed):
                await self._end_reply(event.data.target, event.data.generation)
            for gone in self._timeline.forget_oldest():
                self._has_older = True
                await self._views.pop(gone).remove()
        if isinstance(event, MessageCreated):
            await self._mark_read()
        if isinstance(event, ToolRequested):
            self._ask(event)
        self._show_hint()

    def _note_settings(self, event: Event) -> None:
        match event:
            case ChannelUpdated(data=changes):
                if changes.name:
                    self._app.query_one("#title", Static).update(f"# {changes.name}")
                if changes.agent is not None:
                    self._approval = changes.agent.approval
            case MemberUpdated(data=member) if member.user_id == self._me:
                self._is_owner = member.role == "owner"
            case _:
                pass

    def _ask(self, event: ToolRequested) -> None:
        call = next((each for each in self._timeline.pending() if each.seq == event.seq), None)
        if call is not None and self.may_decide(call):
            self._app.bell()
            self._app.notify(
                f"The agent asks for your approval of {visible(call.tool)}: Up goes to it, "
                "a approves, x denies.",
                markup=False,
            )

    def _tell_calls(self) -> None:
        """Who may decide changes with rules and roles, and what a reply does with its calls."""
        for view in self._views.values():
            if isinstance(view, CallView):
                self._tell(view, view.call)
        for (target, generation), reply in self._replies.items():
            calls = self._timeline.calls.of(target, generation)
            waits = any(call.is_pending for call in calls)
            reply.say("waits for approval" if waits else "writing …")

    def _tell(self, view: CallView, call: ToolCall) -> None:
        rule = rule_in_force(call, self._approval)
        asker = self._asker(call)
        decides = who_decides(rule, "you" if asker == self._me else asker, call.expires_at)
        view.tell(call, mine=self.may_decide(call), me=self._me, decides=decides)

    async def post(self, text: str) -> None:
        """Shows the message at once; it is sent when it is."""
        message_id = new_id()
        line = Line(0, datetime.now(UTC), text, Sender(id=self._me, kind="user"), note="sending …")
        view = LineView(line, mine=True, before=None)
        view.add_class("pending")
        self._pending[message_id] = view
        await self._history.mount(view)
        self._history.anchor()
        try:
            await self._session.send(self.channel_id, text, message_id)
        except ChatError:
            self._pending.pop(message_id, None)
            await view.remove()
            raise

    async def toggle_reaction(self, seq: int, emoji: str) -> None:
        line = self._timeline.find(seq)
        if line is not None and self._me in line.reactions.get(emoji, []):
            await self._session.client.remove_reaction(self.channel_id, seq, emoji)
        else:
            await self._session.client.add_reaction(self.channel_id, seq, emoji)

    def _follow(self, call: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(self._quietly(call)))

    async def _quietly(self, call: Coroutine[Any, Any, None]) -> None:
        """The end of the channel is the business of who reads its events."""
        try:
            await call
        except ChatError:
            return

    async def _follow_deltas(self) -> None:
        async for delta in self._session.deltas(self.channel_id):
            await self._show_delta(delta)

    async def _follow_typing(self) -> None:
        async for update in self._session.typing_updates(self.channel_id):
            if update.typing:
                self._typing[update.user_id] = time.monotonic() + TYPING_LASTS
            else:
                self._typing.pop(update.user_id, None)
            self._show_hint()
            self._app.set_timer(TYPING_LASTS, self._show_hint)

    async def _follow_presence(self) -> None:
        updates = self._session.presence_updates(self.channel_id)
        there = await self._session.client.get_presence(self.channel_id)
        self._online = {presence.user_id for presence in there.items}
        self._show_people()
        async for update in updates:
            (self._online.add if update.online else self._online.discard)(update.user_id)
            self._show_people()

    async def _show_delta(self, delta: Delta) -> None:
        key = (delta.reply_to, delta.generation)
        if key in self._ended:
            return
        view = self._replies.get(key)
        if view is None:
            self._replies[key] = ReplyView(delta)
            await self._history.mount(self._replies[key])
        else:
            await view.show(delta)
        self._show_hint()

    async def _end_waiting(self, event: MessageCreated) -> None:
        """What stood there until this message came goes."""
        pending = self._pending.pop(event.client_message_id or "", None)
        if pending is not None:
            await pending.remove()
        if event.data.reply_to is not None and event.data.generation is not None:
            await self._end_reply(event.data.reply_to, event.data.generation)
        if self._typing.pop(event.sender.id, None) is not None:
            self._show_hint()

    async def _end_reply(self, reply_to: int, generation: int) -> None:
        self._ended.add((reply_to, generation))
        view = self._replies.pop((reply_to, generation), None)
        if view is not None:
            await view.remove()
        self._show_hint()

    async def _show(self, seq: int) -> None:
        line = self._timeline.find(seq)
        if line is None:
            return
        view = self._views.get(seq)
        if isinstance(view, CallView) and line.call is not None:
            self._tell(view, line.call)
            return
        if view is not None:
            view.show(line)
            return
        lines = self._timeline.lines
        before = lines[-2] if len(lines) > 1 else None
        view = self._views[seq] = self._view(line, before)
        unfinished = [*self._replies.values(), *self._pending.values()]
        if unfinished:
            first = min(unfinished, key=self._history.children.index)
            await self._history.mount(view, before=first)
        else:
            await self._history.mount(view)

    async def _mount_before(self, seqs: list[int]) -> None:
        """History above everything that is shown."""
        shown = self._timeline.lines
        views: list[LineView] = []
        for place, line in enumerate(shown):
            before = shown[place - 1] if place else None
            if line.seq in seqs:
                self._views[line.seq] = self._view(line, before)
                views.append(self._views[line.seq])
            elif place == len(seqs) and line.seq in self._views:
                self._views[line.seq].place_after(before)
        if views:
            await self._history.mount(*views, before=0 if self._history.children else None)

    def _view(self, line: Line, before: Line | None) -> LineView:
        if line.call is not None:
            view = CallView(line, line.call, before=before)
            self._tell(view, line.call)
            return view
        mine = line.sender is not None and line.sender.id == self._me
        return LineView(line, mine=mine, before=before)

    def _stay(self, height: int) -> None:
        grown = self._history.max_scroll_y - height
        self._history.scroll_to(y=self._history.scroll_y + grown, animate=False)

    async def _mark_read(self) -> None:
        newest = max(self._views, default=0)
        if newest > self._read_through:
            self._read_through = newest
            self._follow(self._session.mark_read(self.channel_id, newest))

    def _show_people(self) -> None:
        others = sorted(self._online - {self._me})
        more = len(others) - PEOPLE_SHOWN
        shown = [*others[:PEOPLE_SHOWN], *([f"+{more}"] if more > 0 else [])]
        self._app.show_people(["you", *shown] if shown else [])

    def _show_hint(self) -> None:
        now = time.monotonic()
        self._typing = {user: until for user, until in self._typing.items() if until > now}
        writers = sorted(self._typing)
        parts = []
        if writers:
            verb = "is" if len(writers) == 1 else "are"
            parts.append(f"{', '.join(writers[:PEOPLE_SHOWN])} {verb} typing …")
        pending = self._timeline.pending()
        ours = [call for call in pending if self.may_decide(call)]
        if ours:
            parts.append("your approval is needed (Up goes to it)")
        elif pending:
            parts.append("agent waits for approval (Ctrl+X stops it)")
        elif self._replies:
            parts.append("agent is writing (Ctrl+X stops it)")
        self._app.show_hint("  ·  ".join(parts))
        self._app.refresh_bindings()
