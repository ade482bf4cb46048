"""Which records wake which function, and how failures are handed back."""

import json
from typing import Any

import pytest
from tools.templates import Template, reference

from devstack.deploying.concurrency import crowded

type Pattern = dict[str, Any]


@pytest.fixture
def workers(templates: dict[str, Template]) -> Template:
    return templates["workers"]


def source(workers: Template, function: str, event: str) -> dict[str, Any]:
    found: dict[str, Any] = workers.functions[function]["Properties"]["Events"][event]["Properties"]
    return found


def matches(pattern: object, value: object) -> bool:
    """Lambda's event filters, as far as the template uses them."""
    match pattern:
        case dict():
            return isinstance(value, dict) and all(
                matches(each, value.get(key)) for key, each in pattern.items()
            )
        case list():
            return any(_alternative(each, value) for each in pattern)
        case _:
            raise AssertionError(pattern)


def _alternative(pattern: object, value: object) -> bool:
    match pattern:
        case {"exists": bool(wanted)}:
            return (value is not None) == wanted
        case {"anything-but": list(others)}:
            return value is not None and value not in others
        case {"prefix": str(prefix)}:
            return isinstance(value, str) and value.startswith(prefix)
        case _:
            return pattern == value


def wakes(properties: dict[str, Any], record: dict[str, Any]) -> bool:
    filters = properties["FilterCriteria"]["Filters"]
    return any(matches(json.loads(each["Pattern"]), record) for each in filters)


def change(
    name: str, *, new: dict[str, str] | None = None, old: dict[str, str] | None = None, **key: str
) -> dict[str, Any]:
    """A stream record whose attributes are all strings."""
    record: dict[str, Any] = {"Keys": {each: {"S": value} for each, value in key.items()}}
    if new is not None:
        record["NewImage"] = {each: {"S": value} for each, value in new.items()}
    if old is not None:
        record["OldImage"] = {each: {"S": value} for each, value in old.items()}
    return {"eventName": name, "dynamodb": record}


MESSAGE = {"type": "message.created", "sender_kind": "user"}
REPLY = {"type": "message.created", "sender_kind": "agent"}
JOINED = {"type": "member.joined", "sender_kind": "system"}
MARKER = {"digest": "…"}


class TestDelivery:
    @pytest.fixture
    def appended(self, workers: Template) -> dict[str, Any]:
        return source(workers, "WorkersDeliveryFunction", "Appended")

    @pytest.mark.parametrize("event", [MESSAGE, REPLY, JOINED])
    def test_every_appended_event_is_delivered(
        self, appended: dict[str, Any], event: dict[str, str]
    ) -> None:
        assert wakes(appended, change("INSERT", new=event))

    def test_a_marker_is_not(self, appended: dict[str, Any]) -> None:
        assert not wakes(appended, change("INSERT", new=MARKER))

    def test_a_redaction_is_not(self, appended: dict[str, Any]) -> None:
        assert not wakes(appended, change("MODIFY", new=MESSAGE, old=MESSAGE))

    def test_a_shard_is_read_in_order(self, appended: dict[str, Any]) -> None:
        assert appended["ParallelizationFactor"] == 1

    def test_nothing_else_takes_the_streams_warm_workers(self, workers: Template) -> None:
        """A message that holds a worker for 10 s would leave a cold start to the next batch."""
        sources = workers.functions["WorkersDeliveryFunction"]["Properties"]["Events"]
        assert [each["Type"] for each in sources.values()] == ["DynamoDB"]

    def test_what_it_sets_aside_is_done_by_the_same_code(self, workers: Template) -> None:
        stream, queues = (
            workers.functions[f"WorkersDelivery{each}Function"]["Properties"]
            for each in ("", "Queues")
        )
        assert queues["CodeUri"] == stream["CodeUri"]
        assert queues["Handler"] == stream["Handler"]
        assert queues["Environment"] == stream["Environment"]
        taken = {reference(each["Properties"]["Queue"]) for each in queues["Events"].values()}
        assert taken == {"RoomsQueue", "CatchUpQueue"}


class TestDispatcher:
    @pytest.fixture
    def asked(self, workers: Template) -> dict[str, Any]:
        return source(workers, "WorkersAgentDispatcherFunction", "Asked")

    @pytest.fixture
    def asked_anew(self, workers: Template) -> dict[str, Any]:
        return source(workers, "WorkersAgentDispatcherFunction", "AskedAnew")

    def test_a_users_message_is_dispatched(self, asked: dict[str, Any]) -> None:
        assert wakes(asked, change("INSERT", new=MESSAGE))

    @pytest.mark.parametrize("event", [REPLY, JOINED, MARKER])
    def test_the_agent_answers_neither_itself_nor_the_system(
        self, asked: dict[str, Any], event: dict[str, str]
    ) -> None:
        assert not wakes(asked, change("INSERT", new=event))

    def test_a_decision_about_a_call_is_dispatched(self, asked: dict[str, Any]) -> None:
        decided = {"type": "tool.decided", "sender_kind": "user"}

        assert wakes(asked, change("INSERT", new=decided))
        assert not wakes(asked, change("MODIFY", new=decided, old=decided))

    def test_a_reply_asked_for_anew_is_dispatched(self, asked_anew: dict[str, Any]) -> None:
        row = change("INSERT", new={"wakes": "dispatcher"}, pk="open#C", sk="generation#1#2")
        assert wakes(asked_anew, row)

    def test_a_reply_that_the_dispatcher_opened_is_not(self, asked_anew: dict[str, Any]) -> None:
        row = change("INSERT", new={"status": "queued"}, pk="open#C", sk="generation#1#1")
        assert not wakes(asked_anew, row)

    def test_a_member_row_is_not(self, asked_anew: dict[str, Any]) -> None:
        row = change("INSERT", new={"status": "queued"}, pk="channel#C", sk="member#alice")
        assert not wakes(asked_anew, row)

    def test_no_question_is_missed_while_a_mapping_is_made(
        self, asked: dict[str, Any], asked_anew: dict[str, Any]
    ) -> None:
        assert asked["StartingPosition"] == asked_anew["StartingPosition"] == "TRIM_HORIZON"


class TestPresence:
    @pytest.fixture
    def changed(self, workers: Template) -> dict[str, Any]:
        return source(workers, "WorkersPresenceFunction", "Changed")

    @pytest.mark.parametrize(
        "record",
        [
            change("INSERT", new={"state": "live"}),
            change("MODIFY", old={"state": "replaying"}, new={"state": "live"}),
            change("REMOVE", old={"state": "live", "user_id": "alice"}),
        ],
        ids=["subscribed", "replayed", "ended"],
    )
    def test_who_comes_and_goes_is_noticed(
        self, changed: dict[str, Any], record: dict[str, Any]
    ) -> None:
        assert wakes(changed, record)

    @pytest.mark.parametrize(
        "record",
        [
            change("INSERT", new={"state": "replaying"}),
            change("MODIFY", old={"state": "live"}, new={"state": "live"}),
            change("INSERT", new={"expires_at": "1"}),
            change("REMOVE", old={"expires_at": "1"}),
            change("REMOVE", old={"state": "replaying", "user_id": "#"}),
        ],
        ids=["replaying", "renewed", "ticket", "spent ticket", "a row about a room"],
    )
    def test_nothing_else_wakes_it(self, changed: dict[str, Any], record: dict[str, Any]) -> None:
        assert not wakes(changed, record)

    @pytest.mark.parametrize("wanted", [True, False])
    def test_typing_that_is_to_be_told_later_wakes_it(
        self, changed: dict[str, Any], wanted: bool
    ) -> None:
        told = {"at": {"N": "1"}}
        images = {"NewImage": {**told, "wanted": {"BOOL": wanted}}, "OldImage": told}

        assert wakes(changed, {"eventName": "MODIFY", "dynamodb": images})
        assert not wakes(changed, {"eventName": "MODIFY", "dynamodb": {"NewImage": told}})

    def test_no_outage_is_too_long_for_it(self, changed: dict[str, Any], workers: Template) -> None:
        assert changed["MaximumRetryAttempts"] == changed["MaximumRecordAgeInSeconds"] == -1
        queue = workers.queues["DeparturesQueue"]["Properties"]
        an_hour = 3_600
        assert queue["VisibilityTimeout"] * queue["RedrivePolicy"]["maxReceiveCount"] >= an_hour
        assert queue["MessageRetentionPeriod"] > an_hour

    @pytest.mark.parametrize(
        ("function", "event"),
        [
            ("WorkersPresenceFunction", "Departed"),
            ("WorkersDeliveryQueuesFunction", "CaughtUp"),
            ("WorkersAgentFunction", "Crowded"),
        ],
    )
    def test_a_small_quota_is_left_to_those_who_answer_and_deliver(
        self, workers: Template, function: str, event: str
    ) -> None:
        checks = source(workers, function, event)
        mapping, parameter, column = checks["ScalingConfig"]["MaximumConcurrency"]["Fn::FindInMap"]
        table = workers.body["Mappings"][mapping]
        assert parameter == {"Ref": "MaximumConcurrency"}
        # An event source mapping takes 2 at least.
        assert all(2 <= row[column] <= max(2, int(size) // 5) for size, row in table.items())


class TestAgent:
    def test_a_question_waits_for_no_other(self, workers: Template) -> None:
        questions = source(workers, "WorkersAgentFunction", "Questions")
        assert questions["MaximumBatchingWindowInSeconds"] == 0

    def test_workers_at_once_are_bounded_by_a_number(self, workers: Template) -> None:
        questions = source(workers, "WorkersAgentFunction", "Questions")
        mapping, parameter, column = questions["ScalingConfig"]["MaximumConcurrency"][
            "Fn::FindInMap"
        ]
        table = workers.body["Mappings"][mapping]
        assert parameter == {"Ref": "MaximumConcurrency"}
        allowed = workers.parameters["MaximumConcurrency"]["AllowedValues"]
        assert {str(value): value for value in allowed} == {
            key: row[column] for key, row in table.items()
        }

    def test_a_crowd_has_as_many_workers_as_a_deployment_counts_with(
        self, workers: Template
    ) -> None:
        table = workers.body["Mappings"]["Concurrency"]
        assert {size: row["Crowded"] for size, row in table.items()} == {
            size: crowded(int(size)) for size in table
        }

    def test_the_queue_hides_a_message_six_times_as_long_as_a_worker_may_run(
        self, workers: Template
    ) -> None:
        timeout = workers.functions["WorkersAgentFunction"]["Properties"]["Timeout"]
        assert workers.queues["AgentQueue"]["Properties"]["VisibilityTimeout"] == 6 * timeout

    def test_a_worker_outlives_the_longest_reply(self, workers: Template) -> None:
        timeout = workers.functions["WorkersAgentFunction"]["Properties"]["Timeout"]
        assert workers.parameters["ModelTotalTimeout"]["Default"] == 120
        assert workers.parameters["ModelTotalTimeout"]["MaxValue"] <= timeout - 30


def test_lambda_takes_no_function_that_sends_to_its_own_queue_for_a_loop(workers: Template) -> None:
    """After sixteen messages in a row it would drop the next one into the dead letters."""
    sends_to_itself = {
        name
        for name, function in workers.functions.items()
        for event in function["Properties"].get("Events", {}).values()
        if event["Type"] == "SQS"
        and {"Ref": reference(event["Properties"]["Queue"])}
        in function["Properties"]["Environment"]["Variables"].values()
    }

    assert len(sends_to_itself) == 3
    for name in sends_to_itself:
        assert workers.functions[name]["Properties"]["RecursiveLoop"] == "Allow"
