"""Writes the document that `GET /asyncapi.json` serves."""

from pathlib import Path

from tools.websocket_description.document import as_json

PATH = Path(__file__).parents[2] / "functions" / "rest_api" / "src" / "rest_api" / "asyncapi.json"

if __name__ == "__main__":
    PATH.write_text(as_json(), encoding="utf-8")
