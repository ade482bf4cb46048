"""What is asked in between."""

from dataclasses import dataclass
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

EMOJI: Final = ("👍", "👎", "😄", "🎉", "😕", "🚀", "👀")


@dataclass(frozen=True, slots=True)
class NewChannel:
    name: str
    members: list[str]


class _Dialog[Result](ModalScreen[Result | None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close")]

    def action_close(self) -> None:
        self.dismiss(None)


class NewChannelDialog(_Dialog[NewChannel]):
    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label("New channel", classes="title")
            yield Input(placeholder="Name", id="name", max_length=120, compact=True)
            yield Input(placeholder="Members, by user id: bob, carol", id="members", compact=True)
            yield Static("Enter creates it, Esc closes", classes="hint")

    def on_input_submitted(self) -> None:
        name = self.query_one("#name", Input).value.strip()
        members = self.query_one("#members", Input).value.replace(",", " ").split()
        if name:
            self.dismiss(NewChannel(name, members))
        else:
            self.query_one("#name", Input).focus()


class ReactDialog(_Dialog[str]):
    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog narrow"):
            yield Label("React", classes="title")
            yield OptionList(*(Option(emoji, id=emoji) for emoji in EMOJI))
            yield Static("Again takes it back", classes="hint")

    def on_option_list_option_selected(self, selected: OptionList.OptionSelected) -> None:
        self.dismiss(selected.option.id)


class ConfirmDialog(_Dialog[bool]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "agree", "Yes"),
        Binding("n", "close", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(self._question, classes="title", markup=False)
            yield Static("y deletes it, Esc closes", classes="hint")

    def action_agree(self) -> None:
        self.dismiss(True)
