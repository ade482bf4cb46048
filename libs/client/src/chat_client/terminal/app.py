"""The terminal client, full-screen."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any, ClassVar, Final

from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, OptionList, Static

from chat_client.errors import ChatError, SlowConsumerError, UnreachableError, UnsubscribedError
from chat_client.link import ConnectionState
from chat_client.models import Channel, MessageCreated
from chat_client.session import ChatSession
from chat_client.terminal.conversation import Conversation
from chat_client.terminal.dialogs import ConfirmDialog, NewChannel, NewChannelDialog, ReactDialog
from chat_client.terminal.views import CallView, ChannelList, Composer, History, LineView

CHANNELS_SECONDS: Final = 20.0
"""Between looks for channels that others added the user to."""

TYPING_SECONDS: Final = 3.0
"""Between two frames that say that the user still types; after that he does not."""

FOLLOWED: Final = 40
"""Channels followed unasked, the liveliest: of the 50 that a connection may be subscribed to."""

PAGE: Final = 100


class ChatApp(App[None]):
    """Channels on the left, the conversation on the right.

    Args:
        session: not opened yet; the app opens and closes it.
        channel_id: which channel to show first; without one, the liveliest.
    """

    CSS_PATH = "style.tcss"
    TITLE = "chat"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-wide")]  # noqa: RUF012 - declared by App
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "new_channel", "New"),
        Binding("ctrl+x", "stop", "Stop reply", priority=True),
        Binding("ctrl+l", "channels", "Channels"),
        Binding("ctrl+q", "quit", "Quit", priority=True),
    ]

    def __init__(self, session: ChatSession, channel_id: str | None = None) -> None:
        super().__init__()
        self.theme = "textual-dark"
        self.session = session
        self.me = ""
        self.failure: ChatError | None = None
        self._wanted = channel_id
        self._channels: dict[str, Channel] = {}
        self._activity: dict[str, float] = {}
        self._unread: dict[str, int] = {}
        self._followed: set[str] = set()
        self._conversation: Conversation | None = None
        self._typing_until = 0.0
        self._editing: int | None = None

    def compose(self) -> ComposeResult:
        with Horizontal(id="top"):
            yield Static("", id="me", markup=False)
            yield Static("No channel yet", id="title", markup=False)
            yield Static("", id="people", markup=False)
            yield Static("", id="link", markup=False)
        with Horizontal(id="middle"):
            yield ChannelList(id="channels")
            with Vertical(id="talk"):
                yield History(id="history")
                yield Static("", id="hint", markup=False)
                yield Composer(id="composer", soft_wrap=True, compact=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(Composer).focus()
        self._spawn(self._run())

    async def on_unmount(self) -> None:
        self.workers.cancel_all()
        await self.session.close()

    # What goes on in the background.

    async def _run(self) -> None:
        """Opens the session; what ends it ends the app."""
        await self.session.__aenter__()
        self._spawn(self._watch_link())
        self.me = (await self.session.client.get_me()).user_id
        self.query_one("#me", Static).update(self.me)
        await self._load_channels()
        first = self._wanted or next(iter(self._in_order()), None)
        if first is None:
            self._say_empty()
        else:
            await self.open_channel(first)
        while True:
            await asyncio.sleep(CHANNELS_SECONDS)
            with contextlib.suppress(UnreachableError):  # the link shows it; next time, then
                await self._load_channels()

    async def _watch_link(self) -> None:
        async for state in self.session.states():
            link = self.query_one("#link", Static)
            link.set_classes(state.status)
            link.update(_said_of(state))

    async def _load_channels(self) -> None:
        cursor: str | None = None
        found: dict[str, Channel] = {}
        while True:
            page = await self.session.client.list_channels(limit=PAGE, cursor=cursor)
            found |= {channel.channel_id: channel for channel in page.items}
            cursor = page.next_cursor
            if cursor is None:
                break
        self._channels = found
        for channel in found.values():
            self._know(channel)
        for channel_id in self._in_order()[:FOLLOWED]:
            self._follow(self._channels[channel_id])
        self._show_channels()

    def _know(self, channel: Channel) -> None:
        self._channels[channel.channel_id] = channel
        at = channel.last_event_at or channel.created_at
        self._activity[channel.channel_id] = max(
            at.timestamp(), self._activity.get(channel.channel_id, 0.0)
        )
        if not self._is_shown(channel.channel_id):
            self._unread[channel.channel_id] = channel.unread_count

    def _follow(self, channel: Channel) -> None:
        if channel.channel_id not in self._followed:
            self._followed.add(channel.channel_id)
            self._spawn(self._follow_events(channel.channel_id, channel.last_seq))

    async def _follow_events(self, channel_id: str, after: int) -> None:
        """Hands each event of a channel to the conversation, or counts it."""
        try:
            await self.session.subscribe(channel_id, after=after)
            while True:
                with contextlib.suppress(SlowConsumerError):
                    async for event in self.session.events(channel_id):
                        self._activity[channel_id] = event.created_at.timestamp()
                        if self._is_shown(channel_id) and self._conversation is not None:
                            await self._conversation.take(event)
                        elif isinstance(event, MessageCreated) and event.sender.id != self.me:
                            self._unread[channel_id] = self._unread.get(channel_id, 0) + 1
                        self._show_channels()
                    return
        except UnsubscribedError as ended:
            await self._forget(channel_id, ended)
        except ChatError as error:
            if error.status is None:
                raise
            self.notify(str(error), severity="error", markup=False)
        finally:
            self._followed.discard(channel_id)

    async def _forget(self, channel_id: str, ended: UnsubscribedError) -> None:
        channel = self._channels.pop(channel_id, None)
        name = channel.name if channel else channel_id
        said = {"deleted": "was deleted", "removed": "is no longer yours: you were removed"}
        self.notify(f"# {name} {said.get(ended.reason, 'is gone')}.", markup=False)
        self._show_channels()
        if self._is_shown(channel_id):
            following = next(iter(self._in_order()), None)
            if following is None:
                await self._close_conversation()
                self._say_empty()
            else:
                await self.open_channel(following)

    # What the user sees.

    async def open_channel(self, channel_id: str) -> None:
        """Shows a channel: its newest messages, then what comes."""
        if self._is_shown(channel_id):
            self.query_one("#middle").remove_class("list")
            self.query_one(Composer).focus()
            return
        channel = self._channels.get(channel_id)
        if channel is None:
            channel = await self.session.client.get_channel(channel_id)
            self._know(channel)
        self._follow(channel)
        await self._close_conversation()
        self._end_editing()
        self.query_one("#title", Static).update(f"# {channel.name}")
        self.query_one("#middle").remove_class("list")
        self.query_one(Composer).placeholder = f"Message # {channel.name}"
        self._conversation = Conversation(self, self.session, channel, self.me)
        self._unread[channel_id] = 0
        self._show_channels()
        self.query_one(Composer).focus()
        await self._conversation.open()

    async def _close_conversation(self) -> None:
        if self._conversation is not None:
            await self._conversation.close()
            self._conversation = None

    def show_people(self, names: list[str]) -> None:
        self.query_one("#people", Static).update(", ".join(names))

    def show_hint(self, text: str) -> None:
        self.query_one("#hint", Static).update(text)

    def _say_empty(self) -> None:
        self.query_one("#title", Static).update("No channel yet")
        self.query_one(Composer).placeholder = ""
        self.show_hint("Ctrl+N creates the first one; the agent is in it.")

    def _show_channels(self) -> None:
        current = self._conversation.channel_id if self._conversation else None
        self.query_one(ChannelList).show(
            [self._channels[each] for each in self._in_order()], self._unread, current
        )

    def _in_order(self) -> list[str]:
        return sorted(self._channels, key=lambda each: self._activity.get(each, 0.0), reverse=True)

    def _is_shown(self, channel_id: str) -> bool:
        return self._conversation is not None and self._conversation.channel_id == channel_id

    # What the user does.

    @on(Composer.Sent)
    async def _send(self, sent: Composer.Sent) -> None:
        composer = self.query_one(Composer)
        conversation = self._conversation
        if not sent.text.strip() or conversation is None:
            return
        composer.text = ""
        if self._editing is not None:
            seq, self._editing = self._editing, None
            self._end_editing()
            self._do(
                self.session.client.edit_message(conversation.channel_id, seq, sent.text.strip())
            )
        else:
            self._typing_until = 0.0
            self._spawn(self._post(conversation, sent.text.strip()))

    async def _post(self, conversation: Conversation, text: str) -> None:
        try:
            await conversation.post(text)
        except ChatError as error:
            self.notify(f"Not sent: {error}", severity="error", markup=False)
            composer = self.query_one(Composer)
            if not composer.text:
                composer.text = text

    @on(Composer.Typed)
    async def _typed(self) -> None:
        now = time.monotonic()
        if now > self._typing_until and self._conversation is not None:
            self._typing_until = now + TYPING_SECONDS
            self._do(self.session.typing(self._conversation.channel_id))

    @on(Composer.LeftUp)
    def _go_up(self) -> None:
        views = list(self.query(LineView))
        if views:
            views[-1].focus()

    @on(Composer.GivenUp)
    def _give_up(self) -> None:
        if self._editing is not None:
            self.query_one(Composer).text = ""
            self._end_editing()

    def _end_editing(self) -> None:
        self._editing = None
        self.show_hint("")

    @on(History.TopReached)
    def _older(self) -> None:
        if self._conversation is not None:
            self._spawn(self._conversation.load_older())

    @on(OptionList.OptionSelected, "#channels")
    def _choose_channel(self, selected: OptionList.OptionSelected) -> None:
        if selected.option.id is not None:
            self._do(self.open_channel(selected.option.id))

    @on(LineView.Chosen)
    def _chosen(self, chosen: LineView.Chosen) -> None:
        views = list(self.query(LineView))
        place = views.index(chosen.view)
        match chosen.action:
            case "previous" if place > 0:
                views[place - 1].focus()
            case "previous":
                self._older()
            case "next" if place + 1 < len(views):
                views[place + 1].focus()
            case "next" | "leave":
                self.query_one(Composer).focus()
            case "approve" | "deny" as decision if isinstance(chosen.view, CallView):
                if self._conversation is not None:
                    self._do(self._conversation.decide(chosen.view.call, decision))
            case _:
                self._change(chosen.view.line.seq, chosen.action, chosen.view.line.text)

    def _change(self, seq: int, action: str, text: str) -> None:
        conversation = self._conversation
        if conversation is None:
            return
        match action:
            case "edit":
                self._editing = seq
                composer = self.query_one(Composer)
                composer.text = text
                composer.move_cursor(composer.document.end)
                composer.focus()
                self.show_hint("Editing: Enter saves, Esc leaves it as it was")
            case "regenerate":
                self._do(self.session.client.regenerate_reply(conversation.channel_id, seq))
                self.query_one(Composer).focus()
            case "delete":
                self._confirm_deletion(conversation, seq)
            case "react":
                self._choose_reaction(conversation, seq)

    @work
    async def _confirm_deletion(self, conversation: Conversation, seq: int) -> None:
        if await self.push_screen_wait(ConfirmDialog("Delete this message for everyone?")):
            self._do(self.session.client.delete_message(conversation.channel_id, seq))

    @work
    async def _choose_reaction(self, conversation: Conversation, seq: int) -> None:
        emoji = await self.push_screen_wait(ReactDialog())
        if emoji is not None:
            self._do(conversation.toggle_reaction(seq, emoji))

    @work
    async def action_new_channel(self) -> None:
        """Asks for a name and members."""
        wanted = await self.push_screen_wait(NewChannelDialog())
        if wanted is not None:
            self._do(self._create(wanted))

    async def _create(self, wanted: NewChannel) -> None:
        channel = await self.session.client.create_channel(
            wanted.name, members=wanted.members or None
        )
        self._know(channel)
        await self.open_channel(channel.channel_id)

    def action_stop(self) -> None:
        """Ends the replies that are being written."""
        if self._conversation is not None:
            self._do(self.session.cancel(self._conversation.channel_id))

    def check_action(
        self, action: str, parameters: tuple[object, ...]  # noqa: ARG002 - textual's signature
    ) -> bool | None:
        """Offers to stop a reply where there is one."""
        if action == "stop":
            return self._conversation is not None and self._conversation.is_answering
        return True

    def action_channels(self) -> None:
        """Goes to the list; on a narrow screen it takes the conversation's place."""
        self.query_one("#middle").add_class("list")
        self.query_one(ChannelList).focus()

    def _do(self, call: Coroutine[Any, Any, object]) -> None:
        """In the background; a refusal is shown."""

        async def done() -> None:
            try:
                await call
            except ChatError as error:
                self.notify(str(error), severity="error", markup=False)

        self._spawn(done())

    def _spawn(self, call: Coroutine[Any, Any, None]) -> None:
        """In the background; a ChatError ends the app."""

        async def guarded() -> None:
            try:
                await call
            except ChatError as error:
                self.failure = self.failure or error
                self.exit()
            except Exception:
                # While the app ends its widgets go, and nothing can be shown any more.
                if self.is_running:
                    raise

        self.run_worker(guarded())


def _said_of(state: ConnectionState) -> str:
    match state.status:
        case "open":
            return "● online"
        case "waiting":
            return "○ reconnecting"
        case "connecting":
            return "○ connecting"
        case _:
            return "○ offline"
