"""What holds below the protocol's library, whatever that does."""

from typing import Any

import anyio
import httpx2
import pytest
from tests.doubles.mcp_server import scripted_server

from workers_tools.edge import EdgeError, GuardedTransport

CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add"}}


def edge(call_id: str | None) -> GuardedTransport:
    return GuardedTransport(network="private", read_bytes=1_024, call_id=call_id)


def post(
    url: str, message: dict[str, Any], transport: GuardedTransport, *, times: int
) -> list[int]:
    """Statuses of the answers."""

    async def main() -> list[int]:
        async with httpx2.AsyncClient(transport=transport) as http:
            return [(await http.post(url, json=message)).status_code for _time in range(times)]

    return anyio.run(main)


def test_a_second_call_does_not_leave() -> None:
    with scripted_server() as server:
        with pytest.raises(EdgeError, match="bad_answer"):
            post(server.url, CALL, edge("call-1"), times=2)

        assert server.methods == ["tools/call"]


def test_a_conversation_that_reads_a_list_makes_no_call() -> None:
    with scripted_server() as server:
        with pytest.raises(EdgeError, match="bad_answer"):
            post(server.url, CALL, edge(None), times=1)

        assert server.received == []


def test_nothing_leaves_after_a_fault_but_the_end_of_the_session() -> None:
    with scripted_server() as server:
        transport = edge("call-1")
        transport.fail("too_large", "It was too large.")

        with pytest.raises(EdgeError, match="too_large"):
            post(server.url, {"method": "ping", "id": 1}, transport, times=1)

        assert server.received == []


def test_a_public_conversation_leaves_by_https_alone() -> None:
    transport = GuardedTransport(network="public", read_bytes=1_024)

    with pytest.raises(EdgeError, match="refused_address"):
        post("http://1.1.1.1/mcp", {"method": "ping", "id": 1}, transport, times=1)
