"""Shows what is in a channel: read first, then judged (docs/adr/0024)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from commons.dal import IRepository
from commons.errors import ChatError
from commons.services.base import BaseService
from commons.services.membership import MembershipService, OpenChannel


@dataclass(frozen=True, slots=True)
class Shown[Content]:
    """Content that was found fit for whoever asked: what an edge serialises of a channel.

    `ChannelReader` makes it, and `own`.
    """

    content: Content

    def map[Other](self, view: Callable[[Content], Other]) -> "Shown[Other]":
        return Shown(view(self.content))


def own[Content](content: Content) -> Shown[Content]:
    """What the caller has written with this very call, or what is of no channel."""
    return Shown(content)


class ChannelReader(BaseService):
    """Judges whoever reads a channel after the content was read.

    Who is a member then was one when each of these events was appended, so nobody sees what came
    after he left. Strangers, former members and all of a deleted channel get the same 404, whatever
    the reading itself ended in.
    """

    def __init__(self, repository: IRepository | None = None) -> None:
        super().__init__(repository)
        self._membership = MembershipService(self.repository)

    def show[Content](
        self, channel_id: str, user_id: str, read: Callable[[], Content]
    ) -> Shown[Content]:
        """What `read` returns, or raises.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        return self.show_to_member(channel_id, user_id, read, lambda content, _opened: content)

    def show_to_member[Content, View](
        self,
        channel_id: str,
        user_id: str,
        read: Callable[[], Content],
        view: Callable[[Content, OpenChannel], View],
    ) -> Shown[View]:
        """As `show`, as `view` makes it of the channel's and the member's row.

        Raises:
            ChannelNotFoundError: no such channel, or the user is no member of it.
        """
        try:
            content = read()
        except ChatError:
            self._membership.open_channel(channel_id, user_id)
            raise
        return Shown(view(content, self._membership.open_channel(channel_id, user_id)))

    def show_all[Content, View](
        self,
        user_id: str,
        contents: Mapping[str, Content],
        view: Callable[[Content, OpenChannel], View],
    ) -> Shown[dict[str, View]]:
        """What was read of several channels, of those that the user is a member of by now."""
        opened = self._membership.open_channels(list(contents), user_id)
        return Shown(
            {
                channel_id: view(content, opened[channel_id])
                for channel_id, content in contents.items()
                if channel_id in opened
            }
        )
