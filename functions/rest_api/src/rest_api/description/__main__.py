"""Writes the document that the function serves."""

from pathlib import Path

from rest_api.description.document import as_json

PATH = Path(__file__).parent.parent / "openapi.json"

if __name__ == "__main__":
    PATH.write_text(as_json(), encoding="utf-8")
