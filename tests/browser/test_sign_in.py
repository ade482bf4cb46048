"""Signing in on the user pool's hosted page, as on AWS."""

from collections.abc import Iterator

import pytest
from tests.browser.hosted_page import HostedPage
from tests.browser.playground import Playground
from tests.browser.window import Window
from tests.e2e.clients import RestClient


@pytest.fixture
def hosted() -> Iterator[HostedPage]:
    with HostedPage().running() as page:
        yield page


@pytest.fixture
def alice(browsers: dict[str, Window], playground: Playground, hosted: HostedPage) -> Window:
    """At the page as AWS serves it: the hosted page and no demo users."""
    changes = {"sign_in_url": hosted.url, "demo_sign_in_url": ""}
    playground.web_settings = playground.web_settings.model_copy(update=changes)
    shown = browsers["alice"]
    shown.open(f"{playground.url}/")
    shown.driver.execute_script("localStorage.clear(); sessionStorage.clear()")
    return shown


def test_the_hosted_page_signs_in_and_leads_back_to_where_one_was(
    alice: Window, playground: Playground, hosted: HostedPage, people: dict[str, RestClient]
) -> None:
    channel = people["alice"].create_channel(name="from a link")
    alice.open("about:blank")
    alice.open(f"{playground.url}/#/channels/{channel}")

    alice.click(".sign-in .primary")

    alice.shows(".my-name", "Alice")
    alice.shows(".room-name h2", "from a link")
    assert alice.driver.current_url == f"{playground.url}/#/channels/{channel}"
    assert hosted.granted == ["authorization_code"]


def test_a_token_that_is_about_to_expire_is_renewed(
    alice: Window, playground: Playground, hosted: HostedPage
) -> None:
    hosted.token_seconds = 30

    alice.open(f"{playground.url}/")
    alice.click(".sign-in .primary")

    alice.shows(".my-name", "Alice")
    assert "refresh_token" in hosted.granted


def test_an_answer_to_another_request_is_refused(
    alice: Window, playground: Playground, hosted: HostedPage
) -> None:
    hosted.tampers = True

    alice.open(f"{playground.url}/")
    alice.click(".sign-in .primary")

    alice.eventually(lambda: "not begun in this tab" in "".join(alice.texts(".problem")))
    assert hosted.granted == []


def test_signing_out_ends_it_there_too(
    alice: Window, playground: Playground, hosted: HostedPage
) -> None:
    alice.open(f"{playground.url}/")
    alice.click(".sign-in .primary")
    alice.shows(".my-name", "Alice")

    alice.press("Sign out")

    alice.find(".sign-in .primary")
    kept = "return sessionStorage.getItem('chat.credentials')"
    assert alice.driver.execute_script(kept) is None
