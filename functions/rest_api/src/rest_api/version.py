"""The version that the API says it has."""

from typing import Final

VERSION: Final = "0.1.0"
