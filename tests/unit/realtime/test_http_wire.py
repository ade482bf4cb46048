import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from commons.realtime.http_wire import HttpWire, TransportError

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
GONE = b"HTTP/1.1 410 Gone\r\ncontent-length: 13\r\n\r\n{'a':'gone'}\n"
HANG_UP = b""

type Serve = Callable[..., "Server"]


class Server(ThreadingTCPServer):
    """Answers each request with the next of the pieces lists; counts TCP connections."""

    daemon_threads = True
    connections = 0

    def __init__(self, answers: Sequence[Sequence[bytes]]) -> None:
        self.answers = iter(answers)
        super().__init__(("127.0.0.1", 0), Handler)

    def wire(self) -> HttpWire:
        return HttpWire("127.0.0.1", self.server_address[1], None)


class Handler(BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        self.server.connections += 1
        while self.request.recv(4_096):
            for piece in next(self.server.answers):
                if piece == HANG_UP:
                    return
                self.request.sendall(piece)


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def serving(*answers: Sequence[bytes]) -> Server:
            server = stack.enter_context(Server(answers))
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server

        yield serving


def exchange(wire: HttpWire) -> int:
    return wire.exchange(REQUEST, 2.0)


def test_a_body_is_read_past_however_it_comes(serve: Serve) -> None:
    whole = [bytes([each]) for each in GONE]
    server = serve([GONE], whole, [GONE[:-5], GONE[-5:]], [OK])
    wire = server.wire()

    assert [exchange(wire) for _ in range(4)] == [410, 410, 410, 200]
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500\r\n\r\nuntil the end",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 1\r\n\r\nmore than it says",
    ],
)
def test_after_an_answer_without_a_certain_end_the_next_request_has_a_new_connection(
    serve: Serve, answer: bytes
) -> None:
    server = serve([answer], [OK])
    wire = server.wire()

    assert [exchange(wire), exchange(wire)] == [500, 200]
    assert server.connections == 2


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nConte", HANG_UP],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", HANG_UP],
        [b"SSH-2.0-server\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"],
        [b"x" * 70_000],
    ],
)
def test_what_is_no_whole_answer_is_none(serve: Serve, pieces: Sequence[bytes]) -> None:
    server = serve([OK], pieces, pieces, [OK])
    wire = server.wire()
    exchange(wire)

    with pytest.raises(TransportError):
        exchange(wire)

    assert exchange(wire) == 200


def test_an_answer_that_does_not_come_in_time_is_none_and_never_taken_for_the_next(
    serve: Serve,
) -> None:
    server = serve([OK], [], [GONE])
    wire = server.wire()
    exchange(wire)

    with pytest.raises(TransportError):
        wire.exchange(REQUEST, 0.05)

    assert exchange(wire) == 410
    assert server.connections == 2
