"""What lies in a queue for what failed goes back to work (CONTRACT, section 1; workers' runbook)."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from tests.e2e.clients import Json, RestClient, Socket

from commons.dal import DynamoDBRepository, Table
from commons.services.generations import GenerationsService
from devstack.config import STAGE
from devstack.errors import DevstackError
from devstack.local_stack import LocalStack
from devstack.redrive import Redriven, Redriver, redriver

type Connect = Callable[..., AbstractContextManager[Socket]]


@pytest.fixture
def queues(local_stack: LocalStack) -> Redriver:
    return redriver(STAGE, local_stack.clients)


@pytest.fixture
def put(queues: Redriver) -> Callable[[str, Json], None]:
    def into(queue: str, body: Json) -> None:
        url = queues.sqs.get_queue_url(QueueName=f"chat-{STAGE}-{queue}")["QueueUrl"]
        queues.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))

    return into


def pushes(socket: Socket, channel: str, seq: int) -> int:
    """How often an event came, repeats counted."""
    return sum(
        event["seq"] == seq
        for frame in list(socket.frames)
        if frame["type"] == "events"
        for event in frame["events"]
        if event["channelId"] == channel
    )


def unanswered_question(alice: RestClient) -> str:
    """A channel whose first message the agent did not see, and would answer."""
    channel = alice.create_channel(mode="off")
    alice.post(channel, "Anybody there?")
    body = {"agent": {"mode": "always"}}
    alice.call("PATCH", f"/channels/{channel}", 200, json=body)
    return channel


def wait_for_reply(socket: Socket, channel: str) -> None:
    socket.wait_for(
        lambda _frames: any(
            event["data"].get("replyTo") == 1 and event["sender"]["kind"] == "agent"
            for event in socket.events(channel)
        )
    )


def test_dead_letters_of_the_agent_are_answered_after_all(
    alice: RestClient,
    connect: Connect,
    queues: Redriver,
    put: Callable[[str, Json], None],
    local_stack: LocalStack,
) -> None:
    channel = unanswered_question(alice)
    # As the dispatcher had opened it when its message came to the queue.
    tables = {table: f"chat-{STAGE}-{table}" for table in Table}
    repository = DynamoDBRepository(tables, client=local_stack.clients.dynamodb())
    GenerationsService(repository).ask(channel, 1, "alice", correlation_id=None)
    put("agent-dead-letters", {"channelId": channel, "questionSeq": 1, "generation": 1})
    with connect(alice, channels=[channel]) as socket:
        assert queues.redrive("agent-dead-letters") == Redriven(done=1, left=0)
        wait_for_reply(socket, channel)

    assert queues.redrive("agent-dead-letters") == Redriven(done=0, left=0)


def test_parked_questions_are_read_from_the_log_and_dispatched(
    alice: RestClient, connect: Connect, queues: Redriver, put: Callable[[str, Json], None]
) -> None:
    channel = unanswered_question(alice)
    parked = {"channelId": channel, "fromSeq": 1, "toSeq": 1, "reason": "queue"}
    put("dispatcher-parking", parked)
    with connect(alice, channels=[channel]) as socket:
        assert queues.redrive("dispatcher-parking") == Redriven(done=1, left=0)
        wait_for_reply(socket, channel)


def test_parked_events_are_delivered(
    alice: RestClient, connect: Connect, queues: Redriver, put: Callable[[str, Json], None]
) -> None:
    channel = alice.create_channel()
    with connect(alice, channels=[channel]) as socket:
        alice.post(channel, "one")
        socket.wait_for_events(channel, 1)
        put(
            "delivery-parking",
            {"channelId": channel, "fromSeq": 1, "toSeq": 1, "reason": "storage"},
        )

        assert queues.redrive("delivery-parking") == Redriven(done=1, left=0)
        socket.wait_for(lambda _frames: pushes(socket, channel, 1) > 1)


def test_records_that_a_stream_gave_up_on_are_handed_over_again(
    alice: RestClient,
    connect: Connect,
    queues: Redriver,
    local_stack: LocalStack,
    put: Callable[[str, Json], None],
) -> None:
    channel = alice.create_channel()
    with connect(alice, channels=[channel]) as socket:
        alice.post(channel, "one")
        socket.wait_for_events(channel, 1)
        put("delivery-failures", {"DDBStreamBatchInfo": place_in_stream(local_stack, channel)})

        assert queues.redrive("delivery-failures") == Redriven(done=1, left=0)
        socket.wait_for(lambda _frames: pushes(socket, channel, 1) > 1)


def place_in_stream(local_stack: LocalStack, channel: str) -> Json:
    """Where the channel's first event stands, as Lambda's failure notice says it."""
    streams = local_stack.clients.streams()
    (stream,) = streams.list_streams(TableName=f"chat-{STAGE}-chat_events")["Streams"]
    description = streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]
    for shard in description["Shards"]:
        iterator = streams.get_shard_iterator(
            StreamArn=stream["StreamArn"],
            ShardId=shard["ShardId"],
            ShardIteratorType="TRIM_HORIZON",
        )["ShardIterator"]
        for record in streams.get_records(ShardIterator=iterator)["Records"]:
            if record["dynamodb"]["Keys"]["channel_id"] == {"S": channel}:
                number = record["dynamodb"]["SequenceNumber"]
                return {
                    "streamArn": stream["StreamArn"],
                    "shardId": shard["ShardId"],
                    "startSequenceNumber": number,
                    "endSequenceNumber": number,
                    "batchSize": 1,
                }
    raise AssertionError("the event is not in the stream")


def test_an_unknown_queue_is_an_error_that_names_those_there_are(queues: Redriver) -> None:
    with pytest.raises(
        DevstackError,
        match="agent-dead-letters, agent-crowded-dead-letters, departures-dead-letters",
    ):
        queues.redrive("nonsense")
