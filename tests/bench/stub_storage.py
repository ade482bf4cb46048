"""A DynamoDB that holds one room and its log, and answers reads quickly: run as a process of its own.

`python -m tests.bench.stub_storage LISTENERS SHARDS`. The room's subscriptions lie in its shards, or, with
0 shards, all in the first, as in a room that filled while nobody spoke. Of every other channel one
connection listens. Writes are taken and forgotten. `GET /` tells how many pages were read. Prints its
port.
"""

import json
import sys
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from commons import keys
from commons.dal.serialisation import serialize_item
from commons.records.connection import RoomShards, Subscription

ROOM: Final = "room-room-room-room-ro"
ROWS_A_PAGE: Final = 3_000
"""1 MB of subscriptions as they are stored."""

type Row = dict[str, Any]


def subscriptions(channel_id: str, count: int, shards: int) -> dict[str, list[Row]]:
    """By partition, each in the order of its keys."""
    now = int(time.time())
    partitions: dict[str, list[Row]] = {channel_id: []}
    if shards > 1:
        partitions[channel_id].append(_stored(RoomShards(shards=shards).to_item(channel_id)))
    for number in range(count):
        connection_id = f"L{number:08d}AbCdEfg="
        row = Subscription(
            channel_id=channel_id,
            shard=keys.subscription_shard(connection_id, max(shards, 1)),
            connection_id=connection_id,
            user_id=f"user-{number:06d}@example.org",
            subscription_id="s" * 8,
            state="live",
            expires_at=now + 7_200,
            connected_at=(now - 600) * 1_000,
            live_since=(now - 600) * 1_000,
        )
        item = row.to_item()
        partitions.setdefault(str(item["channel_id"]), []).append(_stored(item))
    return partitions


def _stored(item: dict[str, object]) -> Row:
    return dict(serialize_item({**item, "put_id": "p" * 22}))


class Storage:
    def __init__(self, listeners: int, shards: int) -> None:
        self.pages = 0
        self._partitions = subscriptions(ROOM, listeners, shards)
        # Serialised once: what is measured is whoever reads.
        self._answers: dict[tuple[str, int, int], bytes] = {}

    def answer(self, operation: str, request: Row) -> bytes:
        if operation != "Query":
            return b"{}"
        values = request["ExpressionAttributeValues"].values()
        partition = next(value["S"] for value in values if "S" in value)
        if "connections" not in request["TableName"]:
            return _log_page(partition, request)
        self.pages += 1
        if partition not in self._partitions:
            self._partitions |= subscriptions(partition, 1, 0)
        rows = self._partitions[partition]
        start = request.get("ExclusiveStartKey")
        first = 0 if start is None else _position(rows, start["sk"]["S"])
        wanted = min(request.get("Limit", ROWS_A_PAGE), ROWS_A_PAGE)
        known = (partition, first, wanted)
        if known not in self._answers:
            names = set(request.get("ExpressionAttributeNames", {}).values())
            self._answers[known] = _page(
                rows[first : first + wanted], first + wanted < len(rows), names
            )
        return self._answers[known]


def _position(rows: Sequence[Row], sort: str) -> int:
    return next(at for at, row in enumerate(rows) if row["sk"]["S"] == sort) + 1


def _page(rows: Sequence[Row], follows: bool, names: set[str]) -> bytes:
    shown = [{name: value for name, value in row.items() if name in names} for row in rows]
    page: Row = {"Items": shown, "Count": len(rows), "ScannedCount": len(rows)}
    if follows:
        page["LastEvaluatedKey"] = {name: rows[-1][name] for name in ("channel_id", "sk")}
    return json.dumps(page).encode()


def _log_page(channel_id: str, request: Row) -> bytes:
    """One event of some 300 bytes, whatever number is asked for."""
    low = next(
        value["N"] for value in request["ExpressionAttributeValues"].values() if "N" in value
    )
    item = serialize_item(
        {
            **keys.event_key(channel_id, int(low)),
            "type": "message.created",
            "created_at": "2026-01-01T00:00:00.000Z",
            "sender_id": "alice",
            "sender_kind": "user",
            "data": {"text": "x" * 230},
        }
    )
    return json.dumps({"Items": [item], "Count": 1}).encode()


def serve(storage: Storage) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._say(storage.answer(self.headers["X-Amz-Target"].split(".")[1], request))

        def do_GET(self) -> None:
            self._say(json.dumps({"pages": storage.pages}).encode())

        def _say(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    serve(Storage(int(sys.argv[1]), int(sys.argv[2])))
