"""The settings of the tools' function."""

from pydantic import Field

from commons.settings import TableSettings
from workers_tools.servers import ToolNetwork


class ToolsSettings(TableSettings):
    """Which servers there are, and how much of them is taken.

    Attributes:
        tool_servers: the name of the SSM parameter that describes them; empty: there are none.
        tool_network: which addresses a server may have.
        tool_timeout: seconds that a call may take, its conversation's beginning included.
        tool_read_bytes: of one answer of a server.
        tool_shown_bytes: of a result, in UTF-8, that the model is shown.
    """

    tool_servers: str = ""
    tool_network: ToolNetwork = "public"
    tool_timeout: float = Field(default=20.0, gt=0)
    tool_read_bytes: int = Field(default=65_536, gt=0)
    tool_shown_bytes: int = Field(default=16_384, gt=0)
