"""What a client needs to know of a running stack: `.local/outputs.json`."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Outputs(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    stage: str
    region: str
    endpoint: str
    rest_url: str
    websocket_url: str
    issuer: str
    audience: str
    jwks_url: str

    @property
    def web_client_url(self) -> str:
        return f"{self.rest_url}/"

    def write(self, file: Path) -> None:
        """In one step: a reader sees the old file or the new one."""
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(self.model_dump_json(by_alias=True, indent=2) + "\n")
        partial.replace(file)

    @classmethod
    def read(cls, file: Path) -> "Outputs":
        return cls.model_validate_json(file.read_text())
