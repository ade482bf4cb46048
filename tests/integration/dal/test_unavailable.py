"""Every call to storage that is not to be reached, or that does not keep up."""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from commons.dal import (
    DynamoDBRepository,
    Exists,
    IRepository,
    PutWrite,
    Query,
    Table,
    Update,
)
from commons.dal.calls import DynamoDBCalls
from commons.dynamodb.exceptions import (
    RepositoryError,
    StorageBusyError,
    StorageUnavailableError,
    StorageUnreachableError,
)

KEY = {"pk": "p", "sk": "s"}
QUERY = Query(table=Table.CHANNELS, partition="p")
CALLS: Mapping[str, Callable[[IRepository], object]] = {
    "get": lambda storage: storage.get(Table.CHANNELS, KEY),
    "find": lambda storage: storage.find(Table.CHANNELS, KEY),
    "batch_get": lambda storage: storage.batch_get(Table.CHANNELS, [KEY]),
    "put": lambda storage: storage.put(Table.CHANNELS, {**KEY}, condition=Exists("pk")),
    "update": lambda storage: storage.update(Table.CHANNELS, KEY, Update(set={"a": 1})),
    "delete": lambda storage: storage.delete(Table.CHANNELS, KEY, condition=Exists("pk")),
    "batch_delete": lambda storage: storage.batch_delete(Table.CHANNELS, [KEY]),
    "query": lambda storage: storage.query(QUERY),
    "iterate": lambda storage: list(storage.iterate(QUERY)),
    "transact": lambda storage: storage.transact([PutWrite(Table.CHANNELS, {**KEY})]),
}


def test_every_call_that_storage_offers_is_tried_here() -> None:
    assert set(CALLS) == {name for name in vars(IRepository) if not name.startswith("_")}


def storage_at(port: int) -> DynamoDBRepository:
    client = boto3.client(
        "dynamodb",
        endpoint_url=f"http://127.0.0.1:{port}",
        config=Config(connect_timeout=1, read_timeout=0.05, retries={"total_max_attempts": 1}),
    )
    return DynamoDBRepository(
        {table: table.value for table in Table}, client=client, sleep=lambda _: None
    )


@pytest.fixture
def closed_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def stalled_port() -> Iterator[int]:
    """Takes connections and answers nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


class _Answering(BaseHTTPRequestHandler):
    """Answers what the server was given."""

    server: "_Server"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.wfile.write(self.server.answer)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def __init__(self, answer: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.answer = answer


def error_answer(status: int, code: str) -> bytes:
    body = f'{{"__type":"com.amazonaws.dynamodb.v20120810#{code}"}}'
    return (
        f"HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.0\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


UNREACHABLE_ANSWERS = {
    "nothing": b"",
    "half a head": b"HTTP/1.1 200",
    "half a body": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n{",
    "another body than was sent": b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    b"x-amz-crc32: 1\r\nContent-Length: 2\r\n\r\n{}",
    "no JSON": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>",
    "an internal error": error_answer(500, "InternalServerError"),
    "an unavailable service": error_answer(503, "ServiceUnavailable"),
    "a gateway's page": b"HTTP/1.1 502 X\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>",
}
BUSY_ANSWERS = {
    "throttled": error_answer(400, "ThrottlingException"),
    "too much for the table": error_answer(400, "ProvisionedThroughputExceededException"),
    "too many requests": error_answer(400, "RequestLimitExceeded"),
}


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[DynamoDBRepository]:
    with _Server(request.param) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield storage_at(server.server_port)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_socket_is_unreachable_storage(
    closed_port: int, call: Callable[[IRepository], object]
) -> None:
    with pytest.raises(StorageUnreachableError):
        call(storage_at(closed_port))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_stalled_socket_is_unreachable_storage(
    stalled_port: int, call: Callable[[IRepository], object]
) -> None:
    with pytest.raises(StorageUnreachableError):
        call(storage_at(stalled_port))


@pytest.mark.parametrize(
    "answering", UNREACHABLE_ANSWERS.values(), ids=UNREACHABLE_ANSWERS, indirect=True
)
def test_an_answer_that_is_none_is_unreachable_storage(answering: DynamoDBRepository) -> None:
    for call in CALLS.values():
        with pytest.raises(StorageUnreachableError):
            call(answering)


@pytest.mark.parametrize("answering", BUSY_ANSWERS.values(), ids=BUSY_ANSWERS, indirect=True)
def test_throttling_is_busy_storage(answering: DynamoDBRepository) -> None:
    for call in CALLS.values():
        with pytest.raises(StorageBusyError):
            call(answering)


def raised_by_botocore() -> Iterator[Exception]:
    """One of every exception that botocore has."""
    for kind in vars(botocore.exceptions).values():
        if not isinstance(kind, type):
            continue
        if issubclass(kind, ClientError):
            yield kind({"Error": {"Code": "Whatever"}}, "GetItem")
        elif issubclass(kind, BotoCoreError):
            error = kind.__new__(kind)
            Exception.__init__(error, kind.__name__)
            yield error
    yield ResponseParserError()


def test_no_error_of_botocore_leaves_untranslated() -> None:
    errors = list(raised_by_botocore())
    calls = DynamoDBCalls(boto3.client("dynamodb"))

    def fail(error: Exception) -> None:
        raise error

    assert len(errors) > 50
    for error in errors:
        with pytest.raises(RepositoryError) as raised:
            calls.call(lambda _, error=error: fail(error))  # type: ignore[misc]  # bound at once
        is_transport = isinstance(
            error, botocore.exceptions.HTTPClientError | botocore.exceptions.ConnectionError
        )
        if is_transport:
            assert isinstance(raised.value, StorageUnavailableError)
