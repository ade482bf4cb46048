"""Which local stack is meant, and where its things lie."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[4]
STACKS_ROOT = ROOT / "stacks"

STAGE = "local"
REGION = "us-east-1"


class LocalStackConfig(BaseSettings):
    """Read from `CHAT_PORT`, `CHAT_MODEL_URL`, `CHAT_MODEL` and `CHAT_LOCAL_DIR`.

    Attributes:
        port: the emulator's; the demo model takes the next one, or any that is free.
        model_url: an OpenAI-compatible base URL; absent: the demo model, by Bedrock's protocol.
        model: the name of that server's model.
        local_dir: holds state, logs and outputs; a second directory is a second stack.
    """

    model_config = SettingsConfigDict(env_prefix="CHAT_", frozen=True, extra="ignore")

    port: int = Field(default=4566, ge=1, le=65_535)
    model_url: str | None = None
    model: str | None = None
    local_dir: Path = ROOT / ".local"

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
