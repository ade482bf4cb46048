"""The base of every stored row."""

from pydantic import BaseModel, ConfigDict


class StoredModel(BaseModel):
    """The base of what a repository's dicts are validated with: snake_case, unknown ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)
