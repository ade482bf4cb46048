"""A session with a service that speaks the contract: what its user sees, whatever happens."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator

import pytest
from tests.support.fake_chat import FakeChat, problem
from tests.unit.client.conftest import QUICK, REST_URL, NewSession

from chat_client import (
    AgentFailedError,
    ChatError,
    ChatSession,
    Event,
    MessageCreated,
    NotSubscribedError,
    SessionClosedError,
    SessionSettings,
    SlowConsumerError,
    ToolDecided,
    UnreachableError,
    UnsubscribedError,
    arguments_digest,
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

SHORT = SessionSettings(
    open_seconds=5.0, answer_seconds=0.2, ping_seconds=0.02, backoff=QUICK.backoff
)
"""Pings at once, and gives an answer up soon."""


async def take(events: AsyncIterator[Event], count: int) -> list[int]:
    return [(await anext(events)).seq for _ in range(count)]


async def until(chat: FakeChat, action: str, count: int = 1) -> None:
    async with chat.received:
        await chat.received.wait_for(lambda: len(chat.actions(action)) >= count)


def jwt(expires_at: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires_at}).encode()).decode()
    return f"e30.{claims.rstrip('=')}.signature"


async def test_events_come_from_the_beginning_and_then_live(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.append(text="first")
    async with new_session() as session:
        await session.subscribe("room")
        chat.append(text="second")
        events = session.events("room")
        first, second = await anext(events), await anext(events)

    assert isinstance(first, MessageCreated)
    assert isinstance(second, MessageCreated)
    assert [(first.seq, first.data.text), (second.seq, second.data.text)] == [
        (1, "first"),
        (2, "second"),
    ]


async def test_events_begin_after_what_one_has(chat: FakeChat, new_session: NewSession) -> None:
    for _ in range(5):
        chat.append()
    async with new_session() as session:
        await session.subscribe("room", after=3)

        assert await take(session.events("room"), 2) == [4, 5]


async def test_events_may_begin_with_what_comes_from_now_on(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.append()
    async with new_session() as session:
        await session.subscribe("room", after=None)
        chat.append()

        assert await take(session.events("room"), 1) == [2]


async def test_a_long_history_comes_whole_in_order(chat: FakeChat, new_session: NewSession) -> None:
    for _ in range(3_500):
        chat.append()
    async with new_session() as session:
        await session.subscribe("room")

        assert await take(session.events("room"), 3_500) == list(range(1, 3_501))


async def test_an_iteration_goes_on_where_the_last_one_stopped(
    chat: FakeChat, new_session: NewSession
) -> None:
    for _ in range(3):
        chat.append()
    async with new_session() as session:
        await session.subscribe("room")
        async for _ in session.events("room"):
            break

        assert await take(session.events("room"), 2) == [2, 3]


async def test_two_iterations_at_once_are_refused(chat: FakeChat, new_session: NewSession) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        first = asyncio.create_task(take(session.events("room"), 1))
        await asyncio.sleep(0)

        with pytest.raises(RuntimeError):
            await anext(session.events("room"))
        chat.append()
        assert await first == [1]


async def test_unknown_event_types_pass_through_and_unknown_frames_are_skipped(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        for message in ("", "no json", "[]", '{"type":"news"}', '{"type":"delta"}'):
            chat.push_raw(message)
        chat.append(event_type="poll.opened", data={"question": "Tea?"})
        event = await anext(session.events("room"))

    assert event.type == "poll.opened"
    assert event.data.model_extra == {"question": "Tea?"}


async def test_a_known_event_whose_data_changed_is_an_event_still(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        chat.append(data={"parts": ["hello"]})
        event = await anext(session.events("room"))

    assert event.type == "message.created"
    assert event.data.model_extra == {"parts": ["hello"]}


async def test_after_a_cut_it_comes_back_and_misses_nothing(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        chat.append()
        events = session.events("room")
        assert await take(events, 1) == [1]
        chat.cut()
        chat.append()

        assert await take(events, 1) == [2]
    assert [frame["after"] for frame in chat.actions("subscribe")] == [0, 1]


async def test_a_handshake_or_a_ticket_that_is_refused_for_now_is_tried_again(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.ticket_statuses = [503, 502, 429, 500]
    async with new_session() as session:
        await session.subscribe("room")

        assert chat.actions("subscribe")


async def test_a_lost_push_is_noticed_at_the_next_event(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        chat.lose_pushes = 2
        for _ in range(3):
            chat.append()

        assert await take(session.events("room"), 3) == [1, 2, 3]
    assert len(chat.actions("sync")) == 1


async def test_a_lost_push_with_nothing_after_it_is_noticed_by_a_ping(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session(settings=SHORT) as session:
        await session.subscribe("room")
        chat.lose_pushes = 1
        chat.append()

        assert await take(session.events("room"), 1) == [1]
    assert chat.actions("ping")[0]["heads"] is True


async def test_a_subscription_that_the_server_lost_is_noticed_by_a_ping(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session(settings=SHORT) as session:
        await session.subscribe("room")
        chat.channel().subscribers.clear()
        chat.append()

        assert await take(session.events("room"), 1) == [1]


async def test_a_line_that_is_dead_without_saying_so_is_left(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session(settings=SHORT) as session:
        await session.subscribe("room")
        chat.silent = True
        chat.channel().subscribers.clear()
        chat.append()
        await until(chat, "subscribe", 2)
        chat.silent = False

        assert await take(session.events("room"), 1) == [1]


async def test_sync_is_tried_again_when_the_server_is_busy(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.refusals["sync"] = [problem(429), problem(503)]
    async with new_session() as session:
        await session.subscribe("room")
        chat.lose_pushes = 1
        chat.append()
        chat.append()

        assert await take(session.events("room"), 2) == [1, 2]
    assert len(chat.actions("sync")) == 3


async def test_send_answers_the_seq(chat: FakeChat, new_session: NewSession) -> None:
    async with new_session() as session:
        assert [await session.send("room", "one"), await session.send("room", "two")] == [1, 2]

    assert [event["data"]["text"] for event in chat.channel().events] == ["one", "two"]


async def test_send_is_stored_once_though_its_ack_got_lost(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        chat.silent = True
        sending = asyncio.create_task(session.send("room", "hello", "m-1"))
        await until(chat, "sendmessage")
        chat.append(text="hello", client_message_id="m-1")
        chat.silent = False
        chat.cut()

        assert await sending == 1
    assert [frame["clientMessageId"] for frame in chat.actions("sendmessage")] == ["m-1", "m-1"]
    assert chat.channel().head == 1


async def test_the_same_id_again_is_the_same_message(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        first = await session.send("room", "hello", client_message_id="m-1")

        assert await session.send("room", "hello", client_message_id="m-1") == first
    assert chat.channel().head == 1


async def test_messages_are_stored_in_the_order_of_the_calls(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.refusals["sendmessage"] = [problem(429)]
    async with new_session() as session:
        sent = await asyncio.gather(*(session.send("room", str(n)) for n in range(20)))

    assert sent == list(range(1, 21))
    assert [event["data"]["text"] for event in chat.channel().events] == list(map(str, range(20)))


@pytest.mark.parametrize(("text", "by_rest"), [("é" * 16_000, False), ("🦜" * 16_000, True)])
async def test_a_text_too_long_for_a_frame_goes_by_rest(
    chat: FakeChat, new_session: NewSession, text: str, by_rest: bool
) -> None:
    async with new_session() as session:
        assert await session.send("room", text, "m-1") == 1

    assert chat.channel().events[0]["data"]["text"] == text
    assert bool(chat.actions("sendmessage")) is not by_rest


async def test_what_the_server_refuses_is_raised(chat: FakeChat, new_session: NewSession) -> None:
    chat.refusals["sendmessage"] = [problem(409, "another text")]
    async with new_session() as session:
        with pytest.raises(ChatError, match="another text") as refused:
            await session.send("room", "hello")
        with pytest.raises(ChatError) as unknown:
            await session.subscribe("nowhere")

        assert (refused.value.status, unknown.value.status) == (409, 404)
        with pytest.raises(NotSubscribedError):
            session.events("nowhere")


@pytest.mark.parametrize("reason", ["removed", "deleted", "something new"])
async def test_unsubscribed_ends_every_iteration_with_its_reason(
    chat: FakeChat, new_session: NewSession, reason: str
) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        chat.append()
        events, deltas = session.events("room"), session.deltas("room")
        presence = session.presence_updates("room")
        await anext(presence)
        chat.end_subscriptions("room", reason)

        assert await take(events, 1) == [1]
        for iteration in (events, deltas, presence):
            with pytest.raises(UnsubscribedError) as ended:
                await anext(iteration)
            assert ended.value.reason == reason
        with pytest.raises(UnsubscribedError):
            await anext(session.events("room"))
        await session.subscribe("room", after=1)
        chat.append()
        assert await take(session.events("room"), 1) == [2]


async def test_a_channel_that_was_lost_meanwhile_ends_its_iterations(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        del chat.channels["room"]
        chat.cut()

        with pytest.raises(UnsubscribedError) as ended:
            await anext(session.events("room"))
    assert ended.value.reason == "gone"


async def test_unsubscribing_ends_iterations_plainly(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        events = session.events("room")
        reading = asyncio.create_task(take_all(events))
        await asyncio.sleep(0)
        await session.unsubscribe("room")

        assert await reading == []
        assert chat.actions("unsubscribe")


async def take_all(events: AsyncIterator[Event]) -> list[int]:
    return [event.seq async for event in events]


async def test_closing_ends_iterations_plainly_and_calls_with_an_error(
    chat: FakeChat, new_session: NewSession
) -> None:
    session = new_session()
    with pytest.raises(SessionClosedError):
        await session.send("room", "too early")
    async with session:
        await session.subscribe("room")
        reading = asyncio.create_task(take_all(session.events("room")))
        await asyncio.sleep(0)

    assert await reading == []
    with pytest.raises(SessionClosedError):
        await session.send("room", "too late")
    with pytest.raises(SessionClosedError):
        await session.__aenter__()


async def test_who_does_not_read_is_told_so_and_loses_nothing(
    chat: FakeChat, new_session: NewSession
) -> None:
    settings = SessionSettings(
        open_seconds=5.0, backoff=QUICK.backoff, buffered_events=50, ping_seconds=60
    )
    async with new_session(settings=settings) as session:
        await session.subscribe("room")
        for _ in range(200):
            chat.append()
        await session.send("room", "all pushes are here now")
        events = session.events("room")
        assert await take(events, 50) == list(range(1, 51))
        with pytest.raises(SlowConsumerError) as told:
            await anext(events)

        assert told.value.after == 50
        assert await take(session.events("room"), 151) == list(range(51, 202))


async def test_the_bytes_that_wait_are_bounded(chat: FakeChat, new_session: NewSession) -> None:
    settings = SessionSettings(open_seconds=5.0, backoff=QUICK.backoff, buffered_bytes=100_000)
    async with new_session(settings=settings) as session:
        await session.subscribe("room")
        for _ in range(100):
            chat.append(text="x" * 10_000)
        await session.send("room", "all pushes are here now")
        events = session.events("room")
        seen = await take(events, 10)
        with pytest.raises(SlowConsumerError):
            await anext(events)

        assert seen == list(range(1, 11))
        assert await take(session.events("room"), 91) == list(range(11, 102))


async def test_deltas_are_the_reply_and_stop_with_it(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        question = await session.send("room", "hello?")
        deltas = session.deltas("room")
        for index, text in enumerate(["Good", " day", "!"]):
            chat.delta(text, index, question)
        chat.reply("Good day!", question)
        chat.delta("ghost", 3, question)
        chat.delta("next", 0, question + 2)
        seen = [await anext(deltas) for _ in range(4)]

    assert [delta.text for delta in seen] == ["Good", " day", "!", "next"]
    assert seen[2].content == "Good day!"


async def test_deltas_survive_a_cut(chat: FakeChat, new_session: NewSession) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        deltas = session.deltas("room")
        chat.delta("Good", 0, 1)
        text = (await anext(deltas)).text
        chat.cut()
        await until(chat, "subscribe", 2)
        await session.send("room", "so the subscription is there")
        chat.delta("Good day,", 4, 1, snapshot=True)
        chat.delta(" Sir", 5, 1)
        text += (await anext(deltas)).text + (await anext(deltas)).text

    assert text == "Good day, Sir"


async def test_who_opens_deltas_in_the_middle_gets_the_text_so_far(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        chat.delta("Good", 0, 1)
        chat.delta(" day", 1, 1)
        await session.send("room", "all deltas are here now")

        assert (await anext(session.deltas("room"))).text == "Good day"


async def test_who_reads_no_deltas_finds_few_and_whole_ones(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        deltas = session.deltas("room")
        for index in range(5_000):
            chat.delta("x", index, 1)
        await session.send("room", "all deltas are here now")
        text, pieces = "", 0
        while len(text) < 5_000:
            text += (await anext(deltas)).text
            pieces += 1

    assert text == "x" * 5_000
    assert pieces <= 64


async def test_a_reply_is_its_pieces(chat: FakeChat, new_session: NewSession) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        question = await session.send("room", "hello?")
        reply = session.reply("room", question)
        chat.delta("Good", 0, question)
        chat.delta("another", 0, question + 5)
        pieces = [(await anext(reply)).text]
        chat.reply("Good day", question)
        pieces += [delta.text async for delta in reply]

    assert pieces == ["Good", " day"]
    assert reply.event is not None
    assert reply.event.data.usage is not None


async def test_a_reply_that_had_ended_is_one_piece(chat: FakeChat, new_session: NewSession) -> None:
    chat.append()
    chat.reply("Good day", 1)
    async with new_session() as session:
        await session.subscribe("room", after=2)

        assert await session.reply("room", 1).text() == "Good day"


async def test_a_reply_whose_end_got_lost_is_found_in_the_log(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session(settings=SHORT) as session:
        await session.subscribe("room")
        question = await session.send("room", "hello?")
        stream = session.reply("room", question)
        chat.delta("Good", 0, question)
        await anext(stream)
        reply = asyncio.create_task(stream.text())
        chat.lose_pushes = 1
        chat.reply("Good day", question)

        assert await reply == "Good day"


async def test_a_failed_reply_is_an_error(chat: FakeChat, new_session: NewSession) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        question = await session.send("room", "hello?")
        chat.append(
            event_type="agent.failed",
            data={"target": question, "generation": 1, "reason": "throttled"},
        )

        with pytest.raises(AgentFailedError) as failed:
            await session.reply("room", question).text()
    assert failed.value.reason == "throttled"


async def test_presence_begins_with_who_is_there(chat: FakeChat, new_session: NewSession) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        updates = session.presence_updates("room")
        chat.push({"type": "presence", "channelId": "room", "userId": "bob", "online": True})
        seen = [await anext(updates), await anext(updates)]

        assert [(update.user_id, update.online) for update in seen] == [
            ("alice", True),
            ("bob", True),
        ]
        assert session.online("room") == {"alice", "bob"}


async def test_presence_is_right_again_after_a_cut(chat: FakeChat, new_session: NewSession) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        updates = session.presence_updates("room")
        chat.push({"type": "presence", "channelId": "room", "userId": "bob", "online": True})
        await anext(updates)
        await anext(updates)
        chat.cut()
        left = await anext(updates)

        assert (left.user_id, left.online) == ("bob", False)


async def test_a_server_that_does_not_say_who_is_there_will_do(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.says_online = False
    async with new_session() as session:
        await session.subscribe("room")

        assert session.online("room") == frozenset()


async def test_typing_and_read_marks_go_both_ways(chat: FakeChat, new_session: NewSession) -> None:
    async with new_session() as session:
        await session.subscribe("room")
        typing, reads = session.typing_updates("room"), session.read_updates("room")
        await session.typing("room")
        await session.typing("room", typing=False)
        await session.mark_read("room", 7)
        await session.cancel("room", reply_to=3)
        chat.push({"type": "typing", "channelId": "room", "userId": "bob", "typing": True})
        chat.push({"type": "read", "channelId": "room", "userId": "bob", "seq": 5})

        assert (await anext(typing)).user_id == "bob"
        assert (await anext(reads)).seq == 5
    assert [frame["typing"] for frame in chat.actions("typing")] == [True, False]
    assert chat.actions("read")[0]["seq"] == 7
    assert chat.actions("cancel")[0]["replyTo"] == 3


async def test_a_call_is_decided_and_the_decision_that_stands_comes_back(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.append("room", "note this")
    call_id = chat.call(approval="anyone")
    digest = arguments_digest({"text": "milk"})
    async with new_session() as session:
        first = await session.decide("room", call_id, "approve", arguments_digest=digest)
        again = await session.decide("room", call_id, "approve")
        with pytest.raises(ChatError) as refused:
            await session.decide("room", call_id, "deny")

    assert isinstance(first, ToolDecided)
    assert (first.data.call_id, first.data.decision) == (call_id, "approved")
    assert again == first
    assert refused.value.status == 409


async def test_a_refused_token_ends_the_session(chat: FakeChat, new_session: NewSession) -> None:
    chat.ticket_statuses = [401]
    with pytest.raises(ChatError) as refused:
        await new_session().__aenter__()
    assert refused.value.status == 401

    async with new_session() as session:
        await session.subscribe("room")
        reading = asyncio.create_task(take(session.events("room"), 1))
        await asyncio.sleep(0)
        chat.ticket_statuses = [401]
        chat.cut()
        with pytest.raises(ChatError) as ended:
            await reading

        assert ended.value.status == 401
        with pytest.raises(ChatError):
            await session.send("room", "hello")


async def test_a_refused_token_is_renewed_where_that_is_possible(
    chat: FakeChat, new_session: NewSession
) -> None:
    tokens = iter(["stale", "fresh"])
    chat.ticket_statuses = [401]
    async with new_session(token=lambda: next(tokens)) as session:
        await session.subscribe("room")

    assert [request.headers["Authorization"] for request in chat.requests] == [
        "Bearer stale",
        "Bearer fresh",
    ]


async def test_a_connection_that_outlived_its_token_is_left_for_another(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.refusals["subscribe"] = [problem(401)]
    async with new_session() as session:
        await session.subscribe("room")
        chat.append()

        assert await take(session.events("room"), 1) == [1]
    assert len([r for r in chat.requests if r.url.path == "/v1/tickets"]) == 2


async def test_a_call_that_waits_when_the_session_closes_is_told_so(
    chat: FakeChat, new_session: NewSession
) -> None:
    chat.silent = True
    async with new_session() as session:
        subscribing = asyncio.create_task(session.subscribe("room"))
        sending = asyncio.create_task(session.send("room", "hello"))
        await until(chat, "subscribe")
        await until(chat, "sendmessage")

    for waiting in (subscribing, sending):
        with pytest.raises(SessionClosedError):
            await waiting


async def test_a_token_is_renewed_before_it_expires(
    chat: FakeChat, new_session: NewSession
) -> None:
    tokens = [jwt(time.time() + 1.5), jwt(time.time() + 3_600)]
    given: list[str] = []

    async def token() -> str:
        given.append(tokens[min(len(given), 1)])
        return given[-1]

    async with new_session(token=token) as session:
        await session.subscribe("room")
        await until(chat, "authenticate")

    assert chat.actions("authenticate")[0]["token"] == tokens[1]


async def test_nobody_there_is_said_in_time(chat: FakeChat) -> None:
    settings = SessionSettings(open_seconds=0.05, backoff=QUICK.backoff)
    session = ChatSession(
        REST_URL, "ws://127.0.0.1:9", token="t", settings=settings, transport=chat.transport
    )

    with pytest.raises(UnreachableError):
        await session.__aenter__()


async def test_the_state_of_the_connection_can_be_shown(
    chat: FakeChat, new_session: NewSession
) -> None:
    async with new_session() as session:
        states = session.states()
        assert (await anext(states)).status == "open"
        chat.cut()
        seen = [(await anext(states)).status for _ in range(3)]

    assert seen == ["waiting", "connecting", "open"]
    assert [state.status async for state in states] == ["closed"]
