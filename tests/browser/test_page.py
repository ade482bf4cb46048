"""What people see and do in the web client, in a real browser over the playground."""

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from tests.browser.cable import Cable
from tests.browser.conftest import SignIn
from tests.browser.playground import Playground
from tests.browser.window import Window
from tests.e2e.clients import RestClient

type People = dict[str, RestClient]

HOSTILE = (
    "<img src=x onerror=\"window.caught='img'\">",
    "<script>window.caught='script'</script>",
    "<svg/onload=\"window.caught='svg'\"> **bold**",
    "[press me](javascript:window.caught='link')",
    "![alt](x\" onerror=\"window.caught='alt')",
    "<iframe srcdoc=\"<script>parent.caught='frame'</script>\"></iframe>",
    "&lt;b&gt;",
    '`<b>` "><b>',
    "```<b>\n</code></pre><b onclick=x>\n```",
)


def test_markup_in_a_message_stays_text(signed_in: SignIn, people: People) -> None:
    channel = people["alice"].create_channel(name="<b onclick=x>room</b>")
    for text in HOSTILE:
        people["alice"].post(channel, text)

    alice = signed_in("alice")
    alice.enter(channel)
    alice.eventually(lambda: len(alice.messages) == len(HOSTILE))
    alice.say("<img src=x onerror=\"window.caught='own'\">")
    alice.eventually(lambda: len(alice.messages) == len(HOSTILE) + 1)

    shown = alice.messages
    assert shown[0] == HOSTILE[0]
    assert shown[1] == HOSTILE[1]
    assert shown[3] == HOSTILE[3]
    assert shown[6] == HOSTILE[6]
    alice.shows(".room-name h2", "<b onclick=x>room</b>")
    assert alice.all(".timeline img, .timeline script, .timeline iframe, .timeline b") == []
    assert alice.all(".timeline svg:not(.icon), .timeline [onclick], .timeline [onerror]") == []
    assert alice.all('.timeline a[href^="javascript"]') == []
    assert alice.driver.execute_script("return window.caught ?? null") is None


def test_the_browser_itself_refuses_markup_from_text(signed_in: SignIn, people: People) -> None:
    alice = signed_in("alice")

    refused = alice.driver.execute_script(
        "try { document.body.innerHTML = '<b>x</b>'; return '' } catch (error) { return error.name }"
    )

    assert refused == "TypeError"


def test_history_is_read_upwards_without_a_jump(signed_in: SignIn, people: People) -> None:
    channel = people["alice"].create_channel(name="long")
    for number in range(1, 131):
        people["alice"].post(channel, f"message {number}" + "\n\nmore" * (number % 4))
    alice = signed_in("alice")
    alice.enter(channel)
    alice.eventually(lambda: alice.texts('[data-seq="130"] .text'))

    # What is in sight stays where it is, to the pixel, whatever is read above it.
    watch = """
        const scroller = document.querySelector(".scroller");
        scroller.scrollTop = 500;
        const top = scroller.getBoundingClientRect().top;
        const seen = [...document.querySelectorAll(".message[data-seq]")]
          .find((each) => each.getBoundingClientRect().bottom > top);
        return [seen.dataset.seq, seen.getBoundingClientRect().top];
    """
    place = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    for expected in (81, 31, 1):
        first = f'[data-seq="{expected}"]'
        seq, before = alice.driver.execute_script(watch)
        alice.eventually(lambda first=first: alice.all(first), first)  # type: ignore[misc]  # bound now
        after = alice.driver.execute_script(place, f'[data-seq="{seq}"]')
        assert after == pytest.approx(before, abs=2), expected

    numbers = alice.driver.execute_script(
        "return [...document.querySelectorAll('.message[data-seq]')].map((each) => +each.dataset.seq)"
    )
    assert numbers == list(range(1, 131))


def test_what_is_new_is_counted_in_the_list_and_marked_in_the_room(
    signed_in: SignIn, people: People
) -> None:
    elsewhere = people["alice"].create_channel(name="elsewhere")
    channel = people["alice"].create_channel("bob", name="busy")
    people["bob"].post(channel, "old")
    people["alice"].call("PUT", f"/channels/{channel}/read", 204, json={"seq": 1})
    alice = signed_in("alice")
    alice.enter(elsewhere)
    unread = f'.channel[href$="{channel}"] .unread-count'

    for text in ("one", "two", "three"):
        people["bob"].post(channel, text)
    alice.shows(unread, "3")
    counted = alice.driver.title
    alice.enter(channel)
    alice.sees("old", "one", "two", "three")

    assert counted == "(3) elsewhere · Chat"
    marked = alice.driver.execute_script(
        "return document.querySelector('#new-messages').nextElementSibling.dataset.seq"
    )
    assert marked == "2"
    alice.shows_none(unread)
    alice.eventually(
        lambda: people["alice"].call("GET", f"/channels/{channel}", 200).json()["readSeq"] == 4,
        "the read mark",
    )


def in_a_busy_room(signed_in: SignIn, people: People) -> tuple[Window, str]:
    """Alice at the end of more messages than her window shows, and their channel."""
    channel = people["alice"].create_channel("bob", name="busy")
    for number in range(40):
        people["alice"].post(channel, f"line {number}")
    alice = signed_in("alice")
    alice.enter(channel)
    alice.eventually(lambda: alice.texts('[data-seq="40"] .text'))
    return alice, channel


def test_who_reads_back_is_not_moved_and_is_told_of_what_comes(
    signed_in: SignIn, people: People
) -> None:
    alice, channel = in_a_busy_room(signed_in, people)

    alice.driver.execute_script("document.querySelector('.scroller').scrollTop = 300")
    people["bob"].post(channel, "news")
    alice.shows(".jump", "1 new message")
    alice.eventually(lambda: alice.find(".jump").is_displayed(), "the button")
    place = alice.driver.execute_script("return document.querySelector('.scroller').scrollTop")
    alice.click(".jump")

    assert place == 300
    alice.eventually(lambda: not alice.find(".jump").is_displayed(), "the button gone")


def test_who_scrolls_in_the_moment_in_which_news_come_is_told_of_them(
    signed_in: SignIn, people: People
) -> None:
    alice, channel = in_a_busy_room(signed_in, people)

    alice.driver.execute_script("""
        const draw = window.requestAnimationFrame;
        window.requestAnimationFrame = (callback) => draw((time) => {
            window.requestAnimationFrame = draw;
            document.querySelector('.scroller').scrollTop = 300;
            callback(time);
        });
    """)
    people["bob"].post(channel, "news")

    alice.shows(".jump", "1 new message")


def test_what_is_not_acknowledged_outlives_a_reload_and_is_posted_once(
    signed_in: SignIn, people: People, playground: Playground
) -> None:
    channel = people["alice"].create_channel(name="offline")
    alice = signed_in("alice")
    alice.enter(channel)
    alice.shows(".connection-text", "Connected")

    playground.takes_sockets = False
    playground.drop_sockets()
    alice.eventually(lambda: alice.texts(".connection-text") != ["Connected"], "the loss")
    alice.say("kept")
    alice.eventually(lambda: alice.texts(".sending"))
    alice.driver.refresh()
    alice.shows(".pending .text", "kept")
    playground.takes_sockets = True

    alice.sees("kept")
    alice.shows_none(".pending")
    assert [each["data"]["text"] for each in people["alice"].events(channel)] == ["kept"]


def test_two_tabs_that_hold_the_same_message_post_it_once(
    signed_in: SignIn, people: People, playground: Playground
) -> None:
    channel = people["alice"].create_channel(name="twice")
    alice = signed_in("alice")
    alice.enter(channel)
    alice.shows(".connection-text", "Connected")
    playground.takes_sockets = False
    playground.drop_sockets()
    alice.eventually(lambda: alice.texts(".connection-text") != ["Connected"], "the loss")
    alice.say("once")
    first = alice.driver.current_window_handle

    alice.driver.switch_to.new_window("tab")
    alice.open(f"{playground.url}/")
    alice.sign_in_as("alice")
    alice.enter(channel)
    alice.shows(".pending .text", "once")
    playground.takes_sockets = True
    alice.sees("once")
    alice.driver.close()
    alice.driver.switch_to.window(first)

    alice.sees("once")
    assert [each["data"]["text"] for each in people["alice"].events(channel)] == ["once"]


def test_a_cut_line_is_said_and_nothing_is_lost_or_doubled(
    signed_in: SignIn, people: People, cable: Cable
) -> None:
    channel = people["alice"].create_channel("bob", name="cut")
    bob = signed_in("bob")
    bob.enter(channel)
    bob.say("before")
    bob.sees("before")

    cable.cut()
    bob.say("mine")
    people["alice"].post(channel, "theirs")
    bob.eventually(lambda: "No connection" in "".join(bob.texts(".banner")), "the banner")
    kept = bob.texts(".sending")
    cable.mend()
    # By now the page may have tried by itself, and have no button any more.
    bob.driver.execute_script("document.querySelector('.banner button')?.click()")

    assert kept == ["Kept. It is sent when the connection is back."]
    bob.sees("before", "theirs", "mine")
    bob.eventually(lambda: not bob.find(".banner").is_displayed(), "the banner gone")
    assert len(people["alice"].events(channel)) == 3


def test_edits_deletions_and_reactions_are_seen_by_the_other(
    signed_in: SignIn, people: People
) -> None:
    channel = people["alice"].create_channel("bob", name="changes")
    people["bob"].post(channel, "from bob")
    alice, bob = signed_in("alice"), signed_in("bob")
    for each in (alice, bob):
        each.enter(channel)
    alice.say("frist")
    bob.sees("from bob", "frist")

    alice.find(".composer textarea").send_keys(Keys.ARROW_UP)
    editor = alice.find("textarea.edit")
    editor.send_keys(Keys.CONTROL, "a")
    editor.send_keys("first", Keys.ENTER)
    bob.sees("from bob", "first")
    bob.click('[data-seq="2"]')
    bob.click('[data-seq="2"] .toolbar [aria-label="Add a reaction"]')
    bob.click('[aria-label="React with 🎉"]')
    alice.shows(".reaction[aria-pressed]", "🎉\n1")
    alice.find('.reaction[title="Bob"]')
    alice.click('[data-seq="1"]')
    alice.click('[data-seq="1"] .toolbar [aria-label="Delete"]')
    alice.click("dialog .danger")

    bob.sees("first")
    bob.shows(".gone", "This message was deleted.")
    bob.shows('[data-seq="2"] .head .remark', "edited")


def test_a_reply_can_be_stopped_and_asked_for_again(
    signed_in: SignIn, people: People, playground: Playground
) -> None:
    playground.agent.model.word_seconds = 0.2
    channel = people["alice"].create_channel(name="agent", mode="always")
    alice = signed_in("alice")
    alice.enter(channel)

    alice.click(".starters button")
    alice.find(".draft:not(.waiting)")
    alice.click(".draft .stop")
    alice.shows(".finish", "Stopped")
    playground.agent.model.word_seconds = 0.0
    alice.click('[data-seq="2"]')
    alice.click('[data-seq="2"] .toolbar [aria-label="Answer again"]')

    alice.eventually(lambda: len(alice.messages) == 3, "the second reply")
    alice.shows('[data-seq="3"] .head .remark', "answer 2")
    alice.shows_none(".draft")


def test_members_come_and_go(signed_in: SignIn, people: People) -> None:
    channel = people["alice"].create_channel(name="people")
    alice = signed_in("alice")
    alice.enter(channel)

    alice.press("Channel details")
    alice.find("#add-member").send_keys("bob", Keys.ENTER)
    alice.eventually(lambda: "2 members" in alice.texts("dialog h3"), "bob")
    people["bob"].post(channel, "thanks")
    alice.press("Remove Bob")
    alice.click("dialog.confirm .danger")

    alice.eventually(lambda: "1 member" in alice.texts("dialog h3"), "bob gone")
    people["bob"].call("GET", f"/channels/{channel}", 404)
    alice.shows(".notice", "Alice added bob", "Alice removed Bob")


def test_a_channel_that_is_deleted_disappears(signed_in: SignIn, people: People) -> None:
    other = people["alice"].create_channel("bob", name="stays")
    channel = people["alice"].create_channel("bob", name="goes")
    bob = signed_in("bob")
    bob.enter(channel)

    people["alice"].call("DELETE", f"/channels/{channel}", 204)

    bob.shows(".toast", "goes was deleted.")
    bob.find(f'.channel[href$="{other}"][aria-current="page"]')
    bob.shows(".channel-name", "stays")


def test_everything_can_be_done_from_the_keyboard(signed_in: SignIn, people: People) -> None:
    channel = people["alice"].create_channel("bob", name="keys")
    for text in ("one", "two", "three"):
        people["bob"].post(channel, text)
    alice = signed_in("alice")
    alice.enter(channel)
    alice.sees("one", "two", "three")

    def press(*keys: str) -> None:
        ActionChains(alice.driver).send_keys(*keys).perform()

    def focused() -> str:
        found: str = alice.driver.execute_script(
            "const each = document.activeElement; return each.dataset.seq ?? each.ariaLabel"
        )
        return found

    alice.find(".composer textarea").click()
    ActionChains(alice.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    alice.eventually(lambda: focused() in {"3", "Copy the text"}, "the newest message")
    if focused() != "3":
        alice.driver.execute_script("document.activeElement.closest('.message').focus()")
    press(Keys.ARROW_UP)
    assert focused() == "2"
    press(Keys.HOME)
    assert focused() == "1"
    press(Keys.TAB)
    assert focused() == "Add a reaction"
    press(Keys.TAB, Keys.ENTER)

    alice.shows(".replying .author", "Reply to Bob")
    press("an answer", Keys.ENTER)
    alice.sees("one", "two", "three", "an answer")
    alice.shows(".quote", "Bob\none")
    assert people["alice"].events(channel)[-1]["data"]["replyTo"] == 1


def test_a_token_can_be_pasted_and_a_bad_one_is_refused(
    browsers: dict[str, Window], playground: Playground, people: People
) -> None:
    alice = browsers["alice"]
    alice.open(f"{playground.url}/")
    alice.driver.execute_script("localStorage.clear(); sessionStorage.clear()")
    alice.open(f"{playground.url}/")

    alice.click(".with-token summary")
    alice.find("#token").send_keys("nonsense")
    alice.click(".with-token button")
    alice.eventually(lambda: "not a token" in "".join(alice.texts(".problem")), "the refusal")
    alice.find("#token").clear()
    alice.find("#token").send_keys(people["alice"].token)
    alice.click(".with-token button")

    alice.shows(".my-name", "Alice")
