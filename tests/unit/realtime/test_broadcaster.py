import time
from collections.abc import Mapping

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError

from commons.dynamodb.exceptions import StorageBusyError
from commons.realtime import broadcaster as module
from commons.realtime.broadcaster import ATTEMPT_SECONDS, Broadcaster, Outcome, Post

from .conftest import (
    HANG_UP,
    OK_THEN_HANG_UP,
    FakeCallbackApi,
    Received,
    always,
    at_first,
    by_connection,
    only_first,
)


def now_ms() -> int:
    return int(time.time() * 1000)


def test_every_connection_gets_its_frames_in_order(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    frames = tuple(b"frame %d" % number for number in range(5))

    outcome = broadcaster.send(Post(f"c{n}", frames) for n in range(20))

    assert outcome == Outcome(delivered=20)
    for n in range(20):
        assert callback_api.bodies(f"c{n}") == list(frames)


def test_a_frame_goes_out_byte_for_byte(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    frame = '{"text":"grüße 🦊"}'.encode()

    broadcaster.send([Post("c", (frame,))])

    assert callback_api.bodies("c") == [frame]


def test_several_posts_for_one_connection_are_one_in_the_order_given(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    outcome = broadcaster.send([Post("c", (b"1",)), Post("d", (b"x",)), Post("c", (b"2", b"3"))])

    assert outcome.delivered == 2
    assert callback_api.bodies("c") == [b"1", b"2", b"3"]


def test_nothing_to_send_sends_nothing(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    assert broadcaster.send([]) == Outcome()
    assert broadcaster.send([Post("c", ())]) == Outcome()
    assert callback_api.requests == []


def test_a_connection_id_is_percent_encoded_and_the_request_signed_as_boto3_signs_it(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi, session: boto3.Session
) -> None:
    connection_id = "L0SM9cOFvHcCIhw="
    client = session.client("apigatewaymanagementapi", endpoint_url=callback_api.url)

    client.post_to_connection(ConnectionId=connection_id, Data=b"frame")
    broadcaster.send([Post(connection_id, (b"frame",))])

    theirs, ours = callback_api.requests
    assert ours.url == theirs.url
    assert ours.connection_id == connection_id
    assert ours.headers["X-Amz-Security-Token"] == "session-token"
    assert ours.headers["Authorization"] == _signature_of(ours.headers, ours.url, ours.body)


def _signature_of(headers: Mapping[str, str], url: str, body: bytes) -> str:
    """What AWS works out for a request that arrives with these headers."""
    credentials = boto3.Session("AKID", "secret", "session-token").get_credentials()
    assert credentials is not None
    names = headers["Authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    signed = {name: headers[name] for name in headers if name.lower() in names}
    request = AWSRequest("POST", url, headers=signed, data=body)
    request.context["timestamp"] = headers["X-Amz-Date"]
    auth = SigV4Auth(credentials.get_frozen_credentials(), "execute-api", "eu-west-1")
    signature = auth.signature(
        auth.string_to_sign(request, auth.canonical_request(request)), request
    )
    return (
        f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )


def test_connections_to_the_api_are_kept_alive(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    for _ in range(10):
        broadcaster.send([Post("c", (b"1", b"2"))])

    assert len({request.peer for request in callback_api.requests}) == 1


def test_a_connection_to_the_api_that_was_closed_while_idle_is_replaced_without_waiting(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def back_off(_attempt: int) -> float:
        raise AssertionError("nothing failed that is worth a wait")

    monkeypatch.setattr(module, "_backoff", back_off)
    callback_api.script = always(OK_THEN_HANG_UP)

    for _ in range(5):
        assert broadcaster.send([Post("c", (b"x",))]) == Outcome(delivered=1)

    assert callback_api.bodies("c") == [b"x"] * 5


def test_over_tls_frames_arrive_and_a_stranger_is_not_believed(
    tls_callback_api: FakeCallbackApi, session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting = Broadcaster(tls_callback_api.url, session=session)
    monkeypatch.undo()
    distrusting = Broadcaster(tls_callback_api.url, session=session)

    assert trusting.send([Post("c", (b"1", b"2"))]) == Outcome(delivered=1)
    assert distrusting.send([Post("c", (b"3",))], budget_seconds=0.2).failed == {"c"}
    assert tls_callback_api.bodies("c") == [b"1", b"2"]


def test_an_api_that_does_not_answer_is_given_up_within_the_budget(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    callback_api.delay = 3.0
    started = time.monotonic()

    outcome = broadcaster.send([Post("c", (b"x",))], budget_seconds=0.3)

    assert outcome == Outcome(failed=frozenset({"c"}))
    assert time.monotonic() - started < callback_api.delay


def test_an_api_that_is_not_there_is_given_up_within_the_budget(session: boto3.Session) -> None:
    broadcaster = Broadcaster("http://127.0.0.1:1/dev", session=session)

    outcome = broadcaster.send([Post("c", (b"x",))], budget_seconds=0.2)

    assert outcome == Outcome(failed=frozenset({"c"}))


def test_many_posts_are_in_flight_but_no_more_than_the_bound(
    callback_api: FakeCallbackApi, session: boto3.Session
) -> None:
    callback_api.delay = 0.02
    broadcaster = Broadcaster(callback_api.url, session=session, max_in_flight=8)

    broadcaster.send(Post(f"c{n}", (b"x",)) for n in range(64))

    assert 4 <= callback_api.most_in_flight <= 8


def test_what_is_throttled_or_broken_is_tried_again_until_it_is_taken(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    failures = {"throttled": 429, "broken": 500, "unavailable": 503, "cut": HANG_UP}
    callback_api.script = at_first(2, failures)

    outcome = broadcaster.send(Post(name, (b"1", b"2")) for name in failures)

    assert outcome == Outcome(delivered=4)
    for name in failures:
        assert callback_api.bodies(name)[-2:] == [b"1", b"2"]


def test_back_off_is_anything_up_to_a_bound_that_doubles() -> None:
    waits = {attempt: [module._backoff(attempt) for _ in range(400)] for attempt in (1, 3, 20)}

    for attempt, bound in {1: 0.1, 3: 0.4, 20: 2.0}.items():
        assert 0 <= min(waits[attempt]) < bound / 10
        assert bound * 0.9 < max(waits[attempt]) <= bound


def test_what_fails_past_the_budget_is_reported_and_later_frames_are_not_sent(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    callback_api.script = by_connection({"bad": 500})
    started = time.monotonic()

    outcome = broadcaster.send(
        [Post("bad", (b"1", b"2")), Post("good", (b"1", b"2"))], budget_seconds=0.4
    )

    assert outcome == Outcome(delivered=1, failed=frozenset({"bad"}))
    assert time.monotonic() - started < 3.0
    assert set(callback_api.bodies("bad")) == {b"1"}


def test_a_bad_connection_never_holds_back_the_rest(
    callback_api: FakeCallbackApi, session: boto3.Session
) -> None:
    callback_api.script = by_connection({"bad": 503})
    broadcaster = Broadcaster(callback_api.url, session=session, max_in_flight=1)
    started = time.monotonic()

    broadcaster.send([Post("bad", (b"x",)), *(Post(f"c{n}", (b"x",)) for n in range(10))],
                     budget_seconds=1.0)  # fmt: skip

    arrived = [sent.at for sent in callback_api.requests if sent.connection_id != "bad"]
    assert len(arrived) == 10
    assert max(arrived) - started < 0.5


def test_a_connection_that_takes_nothing_is_waited_for_no_longer_than_patience(
    callback_api: FakeCallbackApi, session: boto3.Session
) -> None:
    callback_api.script = by_connection({"bad": 429})
    broadcaster = Broadcaster(callback_api.url, session=session, patience_seconds=0.3)
    started = time.monotonic()

    outcome = broadcaster.send([Post("bad", (b"x",)), Post("good", (b"x",))], budget_seconds=5)

    assert outcome == Outcome(delivered=1, failed=frozenset({"bad"}))
    assert time.monotonic() - started < 2


def test_whoever_comes_late_to_their_turn_has_a_turn(
    callback_api: FakeCallbackApi, session: boto3.Session
) -> None:
    callback_api.delay = 0.1
    broadcaster = Broadcaster(
        callback_api.url, session=session, patience_seconds=0.15, max_in_flight=1
    )

    outcome = broadcaster.send(Post(f"c{n}", (b"1", b"2")) for n in range(4))

    assert outcome == Outcome(delivered=4)


def test_connections_that_hang_cost_the_others_a_moment(
    callback_api: FakeCallbackApi, session: boto3.Session
) -> None:
    hanging = {f"hanging{n}" for n in range(8)}
    answer = callback_api.answer

    def hang(received: Received) -> int:
        if received.connection_id in hanging:
            time.sleep(2)
        return answer(received)

    callback_api.answer = hang  # type: ignore[method-assign]  # a script that takes its time
    broadcaster = Broadcaster(
        callback_api.url, session=session, patience_seconds=0.75, max_in_flight=4
    )
    started = time.monotonic()

    outcome = broadcaster.send(
        [Post(each, (b"x",)) for each in (*hanging, *(f"c{n}" for n in range(20)))]
    )

    assert outcome == Outcome(delivered=20, failed=frozenset(hanging))
    arrived = [sent.at for sent in callback_api.requests if sent.connection_id not in hanging]
    assert max(arrived) - started < 1


def test_an_api_that_is_slow_for_everybody_is_waited_for_and_not_asked_over_and_over(
    callback_api: FakeCallbackApi, session: boto3.Session
) -> None:
    callback_api.delay = 1.5 * ATTEMPT_SECONDS
    broadcaster = Broadcaster(callback_api.url, session=session, max_in_flight=4)

    outcome = broadcaster.send(Post(f"c{n}", (b"x",)) for n in range(24))

    assert outcome == Outcome(delivered=24)
    assert len(callback_api.requests) <= 24 + 8


def test_those_whose_turn_never_came_are_told_from_those_who_did_not_take_it(
    callback_api: FakeCallbackApi, session: boto3.Session
) -> None:
    callback_api.script = always(503)
    broadcaster = Broadcaster(callback_api.url, session=session, max_in_flight=1)
    callback_api.delay = 0.3

    outcome = broadcaster.send([Post("a", (b"x",)), Post("b", (b"x",))], budget_seconds=0.2)

    assert outcome.failed == {"a", "b"}
    assert outcome.untried == {"b"}


def test_nothing_is_sent_to_a_list_that_was_looked_at_too_long_ago(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REVALIDATE_SECONDS", 0.1)
    monkeypatch.setattr(module, "TRUSTED_SECONDS", 0.2)
    callback_api.script = always(503)
    looking: list[float] = []

    def slow_look(pending: frozenset[str]) -> Mapping[str, Post]:
        looking.append(time.monotonic())
        time.sleep(0.6 if len(looking) == 1 else 0)
        looking.append(time.monotonic())
        callback_api.script = always(200)
        return {each: Post(each, (b"x",)) for each in pending}

    outcome = broadcaster.send([Post("c", (b"x",))], revalidate=slow_look)

    assert outcome == Outcome(delivered=1)
    began, ended = looking[:2]
    silent = [sent.at for sent in callback_api.requests if began + 0.25 < sent.at < ended]
    assert silent == []


def test_a_look_that_fails_ends_the_sending(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REVALIDATE_SECONDS", 0.1)
    callback_api.script = always(503)

    def fail(_pending: frozenset[str]) -> Mapping[str, Post]:
        raise StorageBusyError

    with pytest.raises(StorageBusyError):
        broadcaster.send([Post("c", (b"x",))], revalidate=fail)


def test_the_api_serves_where_it_answers_about_one_of_the_connections(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    callback_api.script = by_connection({"closed": 410, "open": 200}, default=429)

    assert broadcaster.serves(["a", "b", "closed"])
    assert broadcaster.serves(["open"])
    assert not broadcaster.serves(["a", "b", "c", "open"])


def test_an_api_that_is_not_there_does_not_serve(session: boto3.Session) -> None:
    assert not Broadcaster("http://127.0.0.1:1/dev", session=session).serves(["c"])


def test_a_refusal_that_will_not_change_is_not_tried_again(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    callback_api.script = always(403)

    outcome = broadcaster.send([Post("c", (b"x",))])

    assert outcome == Outcome(failed=frozenset({"c"}))
    assert len(callback_api.requests) == 1


def test_410_is_reported_as_gone_at_once(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    callback_api.script = always(410)

    outcome = broadcaster.send([Post("c", (b"1", b"2"), connected_at=now_ms() - 10_001)])

    assert outcome == Outcome(gone=frozenset({"c"}))
    assert callback_api.bodies("c") == [b"1"]


def test_410_within_ten_seconds_of_connecting_is_not_gone_but_a_handshake_that_still_runs(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    callback_api.script = always(410)

    outcome = broadcaster.send([Post("c", (b"x",), connected_at=now_ms() - 9_000)])

    assert outcome == Outcome(unready=frozenset({"c"}))


def test_a_handshake_that_ends_meanwhile_gets_its_frames(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    callback_api.script = at_first(1, {"c": 410})

    outcome = broadcaster.send([Post("c", (b"x",), connected_at=now_ms())])

    assert outcome == Outcome(delivered=1)


def test_what_waits_is_looked_at_again_and_dropped_or_changed(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REVALIDATE_SECONDS", 0.2)
    looked: list[frozenset[str]] = []

    def revalidate(pending: frozenset[str]) -> Mapping[str, Post]:
        looked.append(pending)
        callback_api.script = always(200)
        return {"changed": Post("changed", (b"new",)), "kept": Post("kept", (b"old",))}

    callback_api.script = by_connection({"fine": 200}, default=503)

    outcome = broadcaster.send(
        [Post(name, (b"old",)) for name in ("fine", "kept", "changed", "removed")],
        revalidate=revalidate,
    )

    assert outcome == Outcome(delivered=3)
    assert looked[0] == {"kept", "changed", "removed"}
    assert callback_api.bodies("kept")[-1] == b"old"
    assert callback_api.bodies("changed")[-1] == b"new"
    asked_last = max(sent.at for sent in callback_api.requests if sent.connection_id == "removed")
    assert all(sent.at >= asked_last for sent in callback_api.requests if sent.body == b"new")


def test_a_post_that_is_changed_halfway_starts_anew(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REVALIDATE_SECONDS", 0.1)
    callback_api.script = only_first(200, then=503)

    def revalidate(pending: frozenset[str]) -> Mapping[str, Post]:
        callback_api.script = always(200)
        return {"c": Post("c", (b"new 1", b"new 2"))}

    outcome = broadcaster.send([Post("c", (b"old 1", b"old 2"))], revalidate=revalidate)

    assert outcome == Outcome(delivered=1)
    assert callback_api.bodies("c")[0] == b"old 1"
    assert callback_api.bodies("c")[-2:] == [b"new 1", b"new 2"]


def test_a_post_that_is_confirmed_halfway_goes_on_where_it_was(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REVALIDATE_SECONDS", 0.1)
    callback_api.script = only_first(200, then=503)

    def revalidate(pending: frozenset[str]) -> Mapping[str, Post]:
        callback_api.script = always(200)
        return {"c": Post("c", (b"1", b"2"))}

    broadcaster.send([Post("c", (b"1", b"2"))], revalidate=revalidate)

    assert callback_api.bodies("c").count(b"1") == 1
    assert callback_api.bodies("c")[-1] == b"2"


def test_an_error_of_ours_comes_up_in_the_callers_thread(
    callback_api: FakeCallbackApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boto3.Session, "get_credentials", lambda _self: None)
    broadcaster = Broadcaster(callback_api.url, session=boto3.Session(region_name="eu-west-1"))

    with pytest.raises(NoCredentialsError):
        broadcaster.send([Post("c", (b"x",))])


def test_deleting_a_connection_closes_it_or_finds_it_closed(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    callback_api.script = by_connection({"open": 204, "gone": 410})

    assert broadcaster.delete_connection("open")
    assert broadcaster.delete_connection("gone")
    assert [sent.method for sent in callback_api.requests] == ["DELETE", "DELETE"]


def test_a_connection_that_cannot_be_deleted_is_said_so_after_three_tries(
    broadcaster: Broadcaster, callback_api: FakeCallbackApi
) -> None:
    callback_api.script = always(500)

    assert not broadcaster.delete_connection("c")
    assert len(callback_api.requests) == 3
