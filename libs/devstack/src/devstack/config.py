"""Which local stack is meant, and where its things lie."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[4]
STACKS_ROOT = ROOT / "stacks"

STAGE = "local"
REGION = "us-east-1"

ENV_PREFIX = "CHAT_"


class LocalStackConfig(BaseSettings):
    """Read from the environment: each field by its name in capitals, after `CHAT_`.

    Attributes:
        port: the emulator's; the demo model takes the next one, or any that is free.
        model_url: an OpenAI-compatible base URL; absent: the demo model, by Bedrock's protocol.
        model: the name of that server's model.
        model_key: that server's key; absent: it needs none.
        tools: a file that describes MCP servers, as the parameter `ToolServers` of the workers does;
            absent: the demo's.
        allowed_origins: comma list of browsers' origins that may call the stack, as the templates'
            parameter of that name.
        local_dir: holds state, logs and outputs; a second directory is a second stack.
        enforce_rights: a function may do what its role grants and nothing else, as on AWS.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="ignore", env_ignore_empty=True
    )

    port: int = Field(default=4566, ge=1, le=65_535)
    model_url: str | None = None
    model: str | None = None
    model_key: SecretStr | None = None
    tools: Path | None = None
    allowed_origins: str = ""
    local_dir: Path = ROOT / ".local"
    enforce_rights: bool = False

    @property
    def endpoint(self) -> str:
        """By address: `localhost` may mean `::1` first, where nobody listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def state_dir(self) -> Path:
        return self.local_dir / "emulator"

    @property
    def logs_dir(self) -> Path:
        return self.local_dir / "logs"

    @property
    def outputs_file(self) -> Path:
        return self.local_dir / "outputs.json"

    @property
    def processes_file(self) -> Path:
        return self.local_dir / "processes.json"
