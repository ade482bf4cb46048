"""Figures of the contract, and the relations between figures that lie in different places."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.doubles.repository import InMemoryRepository
from tools.templates import STACKS, STACKS_ROOT, Template, name_of

from commons import pages
from commons.clock import epoch_seconds
from commons.dal import Table
from commons.realtime import broadcaster, encoded_frames
from commons.records import connection as connection_records
from commons.records import timer
from commons.records import tool as tool_records
from commons.schemas import channel, problem, types
from commons.schemas.caller import Caller
from commons.services import (
    append,
    channel_broadcast,
    connections,
    generations,
    replay,
    tickets,
    tool_calls,
    typing_notices,
)
from commons.services.rate_limit import PostRateService
from commons.websocket import frame_handler
from rest_api import schemas as rest_schemas
from rest_api.services import channels, reactions, unread
from websocket_session import schemas as session_schemas
from workers_agent import tool_function
from workers_agent.pace import Pace
from workers_agent.services import claims, step_calls
from workers_agent.settings import AgentWorkerSettings
from workers_delivery import composition
from workers_delivery.services import delivery, push
from workers_presence.services import changes as presence_changes
from workers_presence.services import presence, rooms
from workers_tools import conversation, offers
from workers_tools.services import catalogue
from workers_tools.settings import ToolsSettings

GATEWAY_SECONDS = 29
"""API Gateway gives up on a REST call and on a WebSocket route after this."""

AGENT = AgentWorkerSettings(
    agent_queue_url="-", agent_crowded_queue_url="-", websocket_callback_url="-", allowed_models="-"
)

CONTRACT: Mapping[str, tuple[object, object]] = {
    "open connections of a user": (connection_records.MAX_CONNECTIONS, 200),
    "channels of a connection": (connection_records.MAX_CHANNELS, 50),
    "a connection counts for nobody after": (connection_records.CONNECTION_SECONDS, 3 * 60 * 60),
    "a ticket works for": (tickets.TICKET_SECONDS, 60),
    "an Idempotency-Key is remembered for": (channels.REPLAY_SECONDS, 24 * 60 * 60),
    "first members": (rest_schemas.MAX_FIRST_MEMBERS, 40),
    "characters of an Idempotency-Key": (rest_schemas.MAX_IDEMPOTENCY_KEY, 128),
    "items of a page": (rest_schemas.MAX_LIMIT, 100),
    "items of a page, by default": (rest_schemas.DEFAULT_LIMIT, 50),
    "events of a sync": (session_schemas.MAX_EVENTS, 100),
    "characters of a text": (types.MAX_TEXT, 16_000),
    "bytes of metadata": (types.MAX_METADATA_BYTES, 2 * 1_024),
    "edits of a message": (types.MAX_EDITS, 50),
    "emoji of a message": (reactions.MAX_EMOJI, 20),
    "reactions of a message": (reactions.MAX_REACTIONS, 1_000),
    "unread messages shown": (unread.MAX_UNREAD, 100),
    "bytes read for a page of channels": (channels.MAX_BYTES_READ, 5_000_000),
    "unread messages counted": (unread.NEWEST_COUNTED, 500),
    "characters of a system prompt": (channel.MAX_SYSTEM_PROMPT, 4_000),
    "tokens of a reply": (channel.MAX_TOKENS, 4_096),
    "fields of a problem": (problem.MAX_FIELD_PROBLEMS, 20),
    "bytes of a problem": (problem.MAX_PROBLEM_BYTES, 16 * 1_024),
    "bytes of a frame": (encoded_frames.MAX_FRAME_BYTES, 128 * 1_024),
    "bytes of a client's frame": (frame_handler.MAX_CLIENT_FRAME_BYTES, 32 * 1_024),
    "events of a replay": (replay.MAX_EVENTS, 1_000),
    "bytes of a replay": (replay.MAX_BYTES, 1_024 * 1_024),
    "the same typing is told again after": (typing_notices.REPEAT_MILLISECONDS, 2_000),
    "offline after": (presence_changes.GRACE_SECONDS, 5),
    "live connections of a channel whose presence is pushed": (rooms.MAX_LISTENERS, 200),
    "who takes no presence is closed after": (presence.CLOSED_AFTER_MILLISECONDS, 10_000),
    "a push is tried for": (replay.PAST_SECONDS, 10.0),
    "calls of a reply": (AGENT.max_tool_calls, 8),
    "model requests of a reply": (AGENT.max_model_requests, 4),
    "seconds for a decision": (AGENT.approval_timeout, 24 * 60 * 60),
    "bytes of arguments": (tool_records.MAX_ARGUMENTS_BYTES, 16 * 1_024),
    "bytes of a result in an event": (tool_calls.MAX_TOLD_BYTES, 4 * 1_024),
    "a handshake may run for": (connection_records.HANDSHAKE_SECONDS, 10),
    "seconds of a call of a tool": (ToolsSettings().tool_timeout, 20),
    "bytes that are read of a tool's result": (ToolsSettings().tool_read_bytes, 64 * 1_024),
    "bytes of it that a model is shown": (ToolsSettings().tool_shown_bytes, 16 * 1_024),
}


@pytest.mark.parametrize(("actual", "stated"), CONTRACT.values(), ids=CONTRACT)
def test_a_figure_is_that_of_the_contract(actual: object, stated: object) -> None:
    assert actual == stated


def timeouts() -> Iterator[tuple[str, int]]:
    for stack in STACKS:
        template = Template.load(STACKS_ROOT / stack / "template.yaml")
        for function in template.of_type("AWS::Serverless::Function").values():
            properties: dict[str, Any] = function["Properties"]
            yield name_of(function), int(properties["Timeout"])


TIMEOUTS = dict(timeouts())


def test_a_function_behind_a_gateway_ends_before_the_gateway_gives_up() -> None:
    for name in (
        "rest_api",
        "rest_authorizer",
        *(each for each in TIMEOUTS if "websocket" in each),
    ):
        assert TIMEOUTS[name] <= GATEWAY_SECONDS, name


def test_an_append_gives_up_while_its_caller_can_still_be_told() -> None:
    for name in ("rest_api", "websocket_sendmessage"):
        assert TIMEOUTS[name] > append.APPEND_BUDGET_SECONDS + 4


def test_a_call_of_a_tool_ends_before_the_function_that_makes_it() -> None:
    workers = Template.load(STACKS_ROOT / "workers" / "template.yaml")
    longest = workers.parameters["ToolTimeout"]["MaxValue"]
    assert TIMEOUTS["workers_tools"] > longest + conversation.END_SECONDS + 10


def test_a_row_of_the_catalogue_outlives_several_refreshes() -> None:
    workers = Template.load(STACKS_ROOT / "workers" / "template.yaml")
    refreshed = workers.functions["WorkersToolsFunction"]["Properties"]["Events"]["Refreshed"]
    assert refreshed["Properties"]["Schedule"] == "rate(5 minutes)"
    assert catalogue.KEPT_SECONDS >= 10 * 5 * 60


def test_a_call_is_shown_no_more_than_a_row_of_it_holds() -> None:
    workers = Template.load(STACKS_ROOT / "workers" / "template.yaml")
    assert workers.parameters["ToolShownBytes"]["MaxValue"] <= tool_records.MAX_RESULT_BYTES
    assert offers.MAX_ROW_BYTES < tool_records.MAX_SERVER_BYTES


def test_a_push_ends_before_the_function_that_makes_it() -> None:
    for function in ("workers_delivery_queues", "websocket_session"):
        assert TIMEOUTS[function] > replay.PAST_SECONDS + replay.TAIL_SECONDS + 2
    for function in ("workers_delivery", "workers_delivery_queues"):
        assert TIMEOUTS[function] > push.PUSH_SECONDS + 10


def test_a_batch_of_the_stream_ends_within_a_second() -> None:
    assert delivery.BATCH_SECONDS <= 1
    assert composition.PATIENCE_SECONDS < delivery.BATCH_SECONDS


def test_nothing_leaves_to_a_list_or_of_a_text_that_is_older_than_a_second() -> None:
    assert broadcaster.REVALIDATE_SECONDS < broadcaster.TRUSTED_SECONDS
    assert push.LIST_SECONDS + broadcaster.TRUSTED_SECONDS <= 1


def test_a_replay_is_taken_for_dead_only_once_its_function_is() -> None:
    assert TIMEOUTS["websocket_session"] * 1_000 < connection_records.REPLAY_SECONDS * 1_000


def test_whoever_is_removed_hears_nothing_a_second_later() -> None:
    assert broadcaster.REVALIDATE_SECONDS < 1
    assert channel_broadcast.EPHEMERAL_BUDGET_SECONDS < 1


def test_a_lease_survives_two_heartbeats_that_fail() -> None:
    pace = Pace()
    assert pace.lease == claims.LEASE_SECONDS
    assert pace.heartbeat < pace.lease / 3
    # Where its worker died, whoever sees the question again may take the reply.
    assert pace.lease < min(pace.hidden, timer.WATCH_SECONDS)
    assert pace.hidden <= 30
    assert pace.look <= 2


def test_a_worker_outlives_the_longest_reply_that_it_may_write() -> None:
    # Tools start cold once a reply, if at all.
    calls = (AGENT.max_model_requests - 1) * AGENT.tool_timeout + tool_function.START_SECONDS
    longest = AGENT.model_total_timeout + calls + Pace().patience
    assert longest < TIMEOUTS["workers_agent"]


def test_a_cancel_ends_a_reply_within_two_seconds_though_a_call_runs() -> None:
    pace = Pace()
    assert pace.look + step_calls.LAST_SECONDS + pace.last_deltas < 1.5


@pytest.mark.parametrize("function", ["rest_api", "websocket_session"])
def test_a_cancel_is_answered_long_before_its_function_is_stopped(function: str) -> None:
    slowest_closing = 5
    assert generations.CLOSING_SECONDS + slowest_closing < TIMEOUTS[function] / 2


def test_what_a_page_may_hold_fits_what_lambda_may_answer() -> None:
    assert pages.MAX_PAGE_BYTES + 64 * 1_024 < 1_100_000 < 6 * 1_024 * 1_024


def test_no_channel_costs_a_page_more_than_is_kept_for_it() -> None:
    index_entry = 210
    most = encoded_frames.MAX_EVENT_BYTES + unread.NEWEST_COUNTED * index_entry
    assert most < channels.MAX_CHANNEL_BYTES < channels.MAX_BYTES_READ / 10


def test_every_row_that_cleans_itself_away_says_when_in_seconds(
    repository: InMemoryRepository,
) -> None:
    caller = Caller(user_id="alice", expires_at=epoch_seconds() + 3_600)
    tickets.TicketsService(repository).issue(caller)
    PostRateService(repository, rate=1).take("alice")
    connections.ConnectionsService(repository).register(
        "c1", caller, connected_at=epoch_seconds() * 1_000
    )

    rows = [row for table in Table for row in repository.all_items(table) if "ttl" in row]

    assert len(rows) >= 4
    for row in rows:
        ttl = row["ttl"]
        assert isinstance(ttl, int)
        assert 0 < ttl - epoch_seconds() < 8 * 24 * 3_600, row
