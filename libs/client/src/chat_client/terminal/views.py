"""The widgets of the terminal client."""

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message as UiMessage
from textual.widgets import Markdown, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from chat_client.models import Channel
from chat_client.replies import Delta
from chat_client.terminal.calls import arguments_text, result_text, status_of, visible
from chat_client.terminal.timeline import Line
from chat_client.tool_calls import ToolCall

UNREAD_MANY: Final = 100


def time_of(at: datetime) -> str:
    """Local, with the day where it is not today."""
    local = at.astimezone()
    today = datetime.now().astimezone().date()
    return f"{local:%H:%M}" if local.date() == today else f"{local:%d %b %H:%M}"


class ChannelList(OptionList):
    """The caller's channels, the liveliest first, with what is unread."""

    def show(
        self, channels: Iterable[Channel], unread: dict[str, int], current: str | None
    ) -> None:
        highlighted = self.highlighted_option
        keep = highlighted.id if highlighted is not None and self.has_focus else current
        self.clear_options()
        for channel in channels:
            count = unread.get(channel.channel_id, 0)
            self.add_option(Option(self._label(channel, count, current), id=channel.channel_id))
        if keep is not None and keep in self._id_to_option:
            self.highlighted = self.get_option_index(keep)

    def _label(self, channel: Channel, count: int, current: str | None) -> Text:
        many = f"{UNREAD_MANY - 1}+" if count >= UNREAD_MANY else str(count or "")
        room = max(1, self.size.width - 3 - len(many)) if self.size.width else 18
        name = Text(f"# {channel.name}", overflow="ellipsis", no_wrap=True)
        name.truncate(room, overflow="ellipsis", pad=True)
        bold = count > 0 or channel.channel_id == current
        return Text.assemble((name.plain, "bold" if bold else ""), " ", (many, "bold reverse"))


class LineView(Vertical):
    """A line of the conversation; focused, it takes the keys that change it."""

    can_focus = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "edit", "Edit"),
        Binding("d", "delete", "Delete"),
        Binding("r", "react", "React"),
        Binding("g", "regenerate", "Again"),
        Binding("a", "approve", "Approve"),
        Binding("x", "deny", "Deny"),
        Binding("o", "unfold", "Unfold"),
        Binding("up", "previous", "Up", show=False),
        Binding("down", "next", "Down", show=False),
        Binding("escape", "leave", "Back"),
    ]

    class Chosen(UiMessage):
        """What the user wants done with the line."""

        def __init__(self, view: "LineView", action: str) -> None:
            super().__init__()
            self.view = view
            self.action = action

    def __init__(self, line: Line, *, mine: bool, before: Line | None) -> None:
        super().__init__(classes=f"line {line.kind}{' mine' if mine else ''}")
        self.line = line
        self.mine = mine
        self._heading = Static(markup=False, classes="heading")
        self._body = Markdown(open_links=False) if line.kind == "agent" else Static(markup=False)
        self._body.add_class("body")
        self._tail = Static(markup=False, classes="tail")
        self.place_after(before)

    def place_after(self, before: Line | None) -> None:
        """Shows a heading unless the line before it has the same one."""
        self.set_class(self.line.kind != "notice" and not self.line.follows(before), "headed")

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self._body
        yield self._tail

    def on_mount(self) -> None:
        self.show(self.line)

    def show(self, line: Line) -> None:
        self.line = line
        self._heading.update(Text.assemble((line.who, "bold"), "  ", (time_of(line.at), "dim")))
        body = self._body
        if isinstance(body, Static):
            body.update(Text("message deleted", "dim italic") if line.deleted else Text(line.text))
        else:
            body.update("*message deleted*" if line.deleted else line.text)
        reactions = "  ".join(f"{emoji} {len(users)}" for emoji, users in line.reactions.items())
        notes = [note for note in ("edited" if line.edited else "", line.note) if note]
        tail = "   ".join(part for part in (reactions, ", ".join(notes)) if part)
        self._tail.update(Text(tail, "dim"))
        self._tail.display = bool(tail)

    def check_action(
        self, action: str, parameters: tuple[object, ...]  # noqa: ARG002 - textual's signature
    ) -> bool | None:
        """Offers only what may succeed."""
        line = self.line
        if action in {"approve", "deny", "unfold"}:
            return False
        if line.kind == "call":
            return action in {"previous", "next", "leave"}
        if action in {"edit", "delete", "react", "regenerate"} and (
            line.kind == "notice" or line.deleted
        ):
            return False
        if action == "edit":
            return self.mine
        if action == "regenerate":
            return line.kind == "agent"
        return True

    def action_edit(self) -> None:
        self.post_message(self.Chosen(self, "edit"))

    def action_delete(self) -> None:
        self.post_message(self.Chosen(self, "delete"))

    def action_react(self) -> None:
        self.post_message(self.Chosen(self, "react"))

    def action_regenerate(self) -> None:
        self.post_message(self.Chosen(self, "regenerate"))

    def action_previous(self) -> None:
        self.post_message(self.Chosen(self, "previous"))

    def action_next(self) -> None:
        self.post_message(self.Chosen(self, "next"))

    def action_leave(self) -> None:
        self.post_message(self.Chosen(self, "leave"))


class CallView(LineView):
    """A call of a tool: all of it while somebody has to decide, folded once it is over."""

    def __init__(self, line: Line, call: ToolCall, *, before: Line | None) -> None:
        super().__init__(line, mine=False, before=before)
        self.call = call
        self._me = ""
        self._decides = ""
        self._is_unfolded = False

    def tell(self, call: ToolCall, *, mine: bool, me: str, decides: str) -> None:
        """Shows the call as it is now; `mine`: `me` may decide; `decides`: who does, in words."""
        self.call, self.mine, self._me, self._decides = call, mine, me, decides
        if self.is_mounted:
            self._refresh_call()

    def on_mount(self) -> None:
        self._refresh_call()

    def show(self, line: Line) -> None:
        self.line = line

    def _refresh_call(self) -> None:
        call = self.call
        said = status_of(call, mine=self.mine, me=self._me)
        style = "bold" if call.is_pending and self.mine else "dim"
        heading = Text.assemble(("⚙ ", "dim"), (visible(call.tool), "bold"), "  ", (said, style))
        self._heading.update(heading)
        is_open = not call.is_over or self._is_unfolded
        text = arguments_text(call)
        if call.outcome is not None:
            text = f"{text}\n→ {result_text(call)}"
        if isinstance(self._body, Static):
            self._body.update(Text(text))
        self._body.display = is_open
        tail = f"{self._decides}{'  ·  a approves, x denies' if self.mine else ''}"
        self._tail.update(Text(tail if call.is_pending else "", "dim"))
        self._tail.display = call.is_pending
        self.set_class(call.is_pending and self.mine, "asking")
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in {"approve", "deny"}:
            return self.call.is_pending and self.mine
        if action == "unfold":
            return self.call.is_over
        return super().check_action(action, parameters)

    def action_approve(self) -> None:
        self.post_message(self.Chosen(self, "approve"))

    def action_deny(self) -> None:
        self.post_message(self.Chosen(self, "deny"))

    def action_unfold(self) -> None:
        self._is_unfolded = not self._is_unfolded
        self._refresh_call()


class ReplyView(Vertical):
    """A reply while it is written."""

    def __init__(self, delta: Delta) -> None:
        super().__init__(classes="line agent headed")
        self.reply_to = delta.reply_to
        self.generation = delta.generation
        self._content = delta.content
        self._body = Markdown(open_links=False, classes="body")

    def compose(self) -> ComposeResult:
        yield Static(classes="heading")
        yield self._body

    def say(self, doing: str) -> None:
        """What the agent does now."""
        heading = Text.assemble(("agent", "bold"), "  ", (doing, "dim italic"))
        self.query_one(".heading", Static).update(heading)

    async def on_mount(self) -> None:
        self.say("writing …")
        await self._body.update(self._content)

    async def show(self, delta: Delta) -> None:
        if delta.snapshot or not delta.content.startswith(self._content):
            await self._body.update(delta.content)
        elif more := delta.content.removeprefix(self._content):
            await self._body.append(more)
        self._content = delta.content


class History(VerticalScroll):
    """The lines; stays at the newest unless the user scrolls up."""

    can_focus = False

    class TopReached(UiMessage):
        pass

    def watch_scroll_y(self, old: float, new: float) -> None:
        super().watch_scroll_y(old, new)
        if new <= 1 < old:
            self.post_message(self.TopReached())


class Composer(TextArea):
    """Where one writes: Enter sends, Ctrl+J or Shift+Enter begins a line."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "leave_up", "Messages", show=False),
        Binding("escape", "give_up", "Give up", show=False),
    ]

    class GivenUp(UiMessage):
        """The user does not want to write this."""

    class Sent(UiMessage):
        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class LeftUp(UiMessage):
        """The user goes up into the messages."""

    class Typed(UiMessage):
        pass

    def on_mount(self) -> None:
        self.show_line_numbers = False
        self.highlight_cursor_line = False
        self.tab_behavior = "focus"

    async def _on_key(self, event: events.Key) -> None:
        # Here and not by bindings: these come after the keys that follow in one burst.
        if event.key in {"enter", "ctrl+j", "shift+enter"}:
            event.stop()
            event.prevent_default()
            if event.key == "enter":
                self.post_message(self.Sent(self.text))
            else:
                self.insert("\n")
            return
        await super()._on_key(event)
        if event.is_printable:
            self.post_message(self.Typed())

    def action_give_up(self) -> None:
        self.post_message(self.GivenUp())

    def action_leave_up(self) -> None:
        if self.cursor_location[0] == 0:
            self.post_message(self.LeftUp())
        else:
            self.action_cursor_up()
