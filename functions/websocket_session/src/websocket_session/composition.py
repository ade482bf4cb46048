"""Puts the services together: the one place that knows what each needs."""

from collections.abc import Callable
from dataclasses import dataclass

from commons.auth.deferred import deferred_verifier
from commons.dal import IRepository
from commons.realtime.broadcaster import Broadcaster, IBroadcaster
from commons.schemas.caller import Caller
from commons.services import base
from commons.services.channel_broadcast import ChannelBroadcastService
from commons.services.connections import ConnectionsService
from commons.services.event_log import EventLogService
from commons.services.generations import GenerationsService
from commons.services.membership import MembershipService
from commons.services.rate_limit import NoticeRateService
from commons.services.read_marks import ReadMarksService
from commons.services.replay import ReplayService
from commons.services.tool_decisions import ToolDecisionsService
from commons.services.typing_notices import TypingNoticesService
from websocket_session.services.catch_up import CatchUpService
from websocket_session.services.heads import HeadsService
from websocket_session.services.listeners import ListenersService
from websocket_session.services.renewal import RenewalService
from websocket_session.services.subscribing import SubscribingService
from websocket_session.services.typing import TypingService
from websocket_session.settings import SessionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the actions call."""

    broadcaster: IBroadcaster
    connections: ConnectionsService
    subscribing: SubscribingService
    catch_up: CatchUpService
    typing: TypingService
    read_marks: ReadMarksService
    generations: GenerationsService
    decisions: ToolDecisionsService
    renewal: RenewalService
    heads: HeadsService


def build_services(
    settings: SessionSettings,
    *,
    repository: IRepository | None = None,
    broadcaster: IBroadcaster | None = None,
    verify_token: Callable[[str], Caller] | None = None,
) -> Services:
    """The services over one repository; what is not given is the deployed one."""
    storage = repository if repository is not None else base.default_repository()
    sender = broadcaster or Broadcaster(settings.websocket_callback_url)
    event_log = EventLogService(storage)
    membership = MembershipService(storage)
    connections = ConnectionsService(storage)
    catch_up = CatchUpService(storage, event_log=event_log)
    broadcasts = ChannelBroadcastService(storage, broadcaster=sender, connections=connections)
    return Services(
        broadcaster=sender,
        connections=connections,
        subscribing=SubscribingService(
            storage,
            connections=connections,
            replay=ReplayService(
                storage,
                broadcaster=sender,
                connections=connections,
                event_log=event_log,
                membership=membership,
            ),
            listeners=ListenersService(storage),
        ),
        catch_up=catch_up,
        typing=TypingService(
            storage,
            membership=membership,
            notices=TypingNoticesService(
                storage,
                broadcasts=broadcasts,
                notice_rate=NoticeRateService(storage, kind="typing"),
            ),
        ),
        read_marks=ReadMarksService(
            storage,
            broadcasts=broadcasts,
            event_log=event_log,
            membership=membership,
            notice_rate=NoticeRateService(storage, kind="read"),
        ),
        generations=GenerationsService(storage, event_log=event_log, membership=membership),
        decisions=ToolDecisionsService(storage, event_log=event_log, membership=membership),
        renewal=RenewalService(
            storage,
            verify_token=verify_token or deferred_verifier(settings),
            connections=connections,
        ),
        heads=HeadsService(storage, event_log=event_log),
    )
