"""Puts the services together: the one place that knows what each needs."""

from collections.abc import Callable
from dataclasses import dataclass

from commons.dal import IRepository
from commons.realtime.broadcaster import Broadcaster, IBroadcaster
from commons.secrets import stored_secret
from commons.services.base import default_repository
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.closing import ClosingService
from commons.services.connections import ConnectionsService
from commons.services.generations import GenerationsService
from commons.services.messages import MessagesService
from commons.services.rate_limit import PostRateService
from commons.services.read_marks import ReadMarksService
from commons.services.subscriptions_ending import SubscriptionsEndingService
from commons.services.tickets import TicketsService
from commons.services.tool_catalogue import ToolCatalogueService
from commons.services.tool_decisions import ToolDecisionsService
from rest_api.cursors import CursorCodec
from rest_api.services.agents import AgentRules
from rest_api.services.channels import ChannelsService
from rest_api.services.deletions import DeletionsService
from rest_api.services.edits import EditsService
from rest_api.services.members import MembersService
from rest_api.services.open_generations import OpenGenerationsService
from rest_api.services.presence import PresenceService
from rest_api.services.reactions import ReactionsService
from rest_api.services.reading import ReadingService
from rest_api.services.usage import UsageService
from rest_api.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the routes call."""

    cursors: CursorCodec
    channels: ChannelsService
    members: MembersService
    messages: MessagesService
    reading: ReadingService
    edits: EditsService
    deletions: DeletionsService
    reactions: ReactionsService
    read_marks: ReadMarksService
    presence: PresenceService
    generations: GenerationsService
    open_generations: OpenGenerationsService
    usage: UsageService
    tickets: TicketsService
    post_rate: PostRateService
    catalogue: ToolCatalogueService
    decisions: ToolDecisionsService


def build_services(
    settings: Settings,
    *,
    repository: IRepository | None = None,
    broadcaster: IBroadcaster | None = None,
    cursor_secret: Callable[[], bytes] | None = None,
) -> Services:
    """The services over one repository; what is not given is the deployed one."""
    storage = repository if repository is not None else default_repository()
    connections = ConnectionsService(storage)
    broadcasts = ChannelBroadcastService(
        storage,
        broadcaster=broadcaster or Broadcaster(settings.websocket_callback_url),
        connections=connections,
    )
    subscriptions = SubscriptionsEndingService(
        storage, broadcasts=broadcasts, connections=connections
    )
    cursors = CursorCodec(
        cursor_secret or (lambda: stored_secret(settings.cursor_secret_arn).encode())
    )
    generations = GenerationsService(storage)
    catalogue = ToolCatalogueService(storage)
    return Services(
        cursors=cursors,
        channels=ChannelsService(
            storage,
            agents=AgentRules(settings.models, catalogue=catalogue),
            closing=ClosingService(storage, subscriptions=subscriptions),
        ),
        members=MembersService(
            storage, subscriptions=subscriptions, max_members=settings.max_members
        ),
        messages=MessagesService(storage),
        reading=ReadingService(storage, cursors=cursors),
        edits=EditsService(storage),
        deletions=DeletionsService(storage, generations=generations),
        reactions=ReactionsService(storage),
        read_marks=ReadMarksService(storage, broadcasts=broadcasts),
        presence=PresenceService(storage),
        generations=generations,
        open_generations=OpenGenerationsService(storage, generations=generations),
        usage=UsageService(storage),
        tickets=TicketsService(storage),
        post_rate=PostRateService(storage, rate=settings.post_rate),
        catalogue=catalogue,
        decisions=ToolDecisionsService(storage),
    )
