"""Which MCP servers the local stack offers tools of: the demo's, or those of `CHAT_TOOLS`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from devstack.aws import AwsClients
from devstack.config import STAGE, LocalStackConfig
from devstack.demo_tools.process import DemoTools
from devstack.errors import DevstackError
from devstack.stacks import TOOL_SERVERS, describe, published
from workers_tools.servers import ToolServer, ToolServersError, read_servers

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

STACK_NAME: Final = f"chat-{STAGE}-tools"
TEMPLATE: Final = Path(__file__).with_name("tool_servers.yaml")
MAX_BYTES: Final = 4_096
"""SSM holds no longer text in a parameter of the usual kind."""

SECONDS: Final = 30.0


def check_tools(config: LocalStackConfig) -> list[ToolServer]:
    """The servers of `CHAT_TOOLS`; none where it names no file.

    Raises:
        DevstackError: the file does not describe servers; the message says why.
    """
    if config.tools is None:
        return []
    try:
        text = config.tools.read_text()
        servers = read_servers(text, "private")
    except (OSError, UnicodeDecodeError) as error:
        raise DevstackError(
            f"CHAT_TOOLS names {config.tools}, which cannot be read ({type(error).__name__})."
        ) from error
    except ToolServersError as error:
        raise DevstackError(f"{config.tools} (CHAT_TOOLS): {error}") from error
    if len(text.encode()) > MAX_BYTES:
        raise DevstackError(f"{config.tools} (CHAT_TOOLS) is longer than {MAX_BYTES} bytes.")
    return servers


def tool_secrets(config: LocalStackConfig) -> str:
    """The secrets that `CHAT_TOOLS` names, as the workers' parameter lists them."""
    arns = [each.secret_arn for each in check_tools(config) if each.secret_arn is not None]
    return ",".join(dict.fromkeys(arns))


class ToolServers:
    """The SSM parameter that the workers read, by a template of its own."""

    def __init__(
        self, config: LocalStackConfig, clients: AwsClients, demo_tools: DemoTools
    ) -> None:
        self._config = config
        self._clients = clients
        self._demo_tools = demo_tools

    def deploy(self) -> None:
        """Makes the parameter hold what is offered now.

        Raises:
            DevstackError: the parameter's stack could not be deployed.
        """
        text = self._text()
        if published(self._clients).get(TOOL_SERVERS) == text:
            return
        cloudformation = self._clients.cloudformation()
        deploy = (
            cloudformation.create_stack
            if describe(cloudformation, STACK_NAME) is None
            else cloudformation.update_stack
        )
        deploy(
            StackName=STACK_NAME,
            TemplateBody=TEMPLATE.read_text(),
            Parameters=[{"ParameterKey": "Servers", "ParameterValue": text}],
        )
        self._wait(cloudformation, text)

    def offered(self) -> list[str]:
        """Names of the servers that the stack was told of, whatever this shell's variables say."""
        text = published(self._clients).get(TOOL_SERVERS, "[]")
        return [server.name for server in read_servers(text, "private")]

    def _text(self) -> str:
        if self._config.tools is None:
            return self._demo_tools.described()
        return self._config.tools.read_text()

    def _wait(self, cloudformation: "CloudFormationClient", text: str) -> None:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if published(self._clients).get(TOOL_SERVERS) == text:
                return
            time.sleep(0.1)
        stack = describe(cloudformation, STACK_NAME)
        status = stack["StackStatus"] if stack is not None else "missing"
        raise DevstackError(f"The stack {STACK_NAME} has no parameter: it is {status}.")
