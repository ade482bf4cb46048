"""Puts the function together: the one place that knows what each part needs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from commons.dal import IRepository
from commons.secrets import stored_secret
from commons.services.base import default_repository
from workers_tools.configuration import Configuration
from workers_tools.conversation import Conversations
from workers_tools.parameters import stored_parameter
from workers_tools.quiet import silence_libraries
from workers_tools.services.calling import CallingService
from workers_tools.services.catalogue import CatalogueService
from workers_tools.settings import ToolsSettings


@dataclass(frozen=True, slots=True)
class Services:
    """The function's use cases."""

    calling: CallingService
    catalogue: CatalogueService


@cache
def services() -> Services:
    """Of a warm function."""
    silence_libraries()
    return build_services(ToolsSettings(), default_repository())


def build_services(
    settings: ToolsSettings,
    repository: IRepository,
    *,
    conversations: Conversations | None = None,
    read_parameter: Callable[[str], str] = stored_parameter,
    read_secret: Callable[[str], str] = stored_secret,
) -> Services:
    """The use cases over one repository; what is not given is the deployed one."""
    configuration = Configuration(
        settings.tool_servers,
        settings.tool_network,
        read_parameter=read_parameter,
        read_secret=read_secret,
    )
    speaking = conversations or Conversations(
        network=settings.tool_network, read_bytes=settings.tool_read_bytes
    )
    return Services(
        calling=CallingService(
            repository,
            configuration=configuration,
            conversations=speaking,
            seconds=settings.tool_timeout,
            shown_bytes=settings.tool_shown_bytes,
        ),
        catalogue=CatalogueService(
            repository,
            configuration=configuration,
            conversations=speaking,
            seconds=settings.tool_timeout,
        ),
    )
