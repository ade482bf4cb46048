"""The web client as it is served: its page, its files, and what a browser may do with them."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from tests.doubles.repository import InMemoryRepository
from tests.integration.rest_api.client import Answer, proxy_event

from rest_web.app import WebApp
from rest_web.services.web_client import WebClientService
from rest_web.settings import Settings

PAGE = Path(__file__).parents[3] / "functions" / "rest_web" / "src" / "rest_web" / "page"
CLIENT_LIBRARY = Path(__file__).parents[3] / "libs" / "client-js" / "src"
MODULES = sorted(PAGE.glob("*.js"))
OWN_MODULES = [each for each in MODULES if not each.is_symlink()]
IMPORT = re.compile(r'^(?:import|export)\b[^"]*?from "\./([\w-]+\.js)";', re.MULTILINE)
WEBSOCKET = "wss://socket.example.com/dev"


def web_app(repository: InMemoryRepository, **changes: str) -> WebApp:
    settings = Settings(
        websocket_url=WEBSOCKET, sign_in_url="none", jwt_audience="client-1"
    ).model_copy(update=changes)
    return WebApp(WebClientService(repository, settings=settings), settings)


def get(app: WebApp, path: str, *, address: str | None = None) -> Answer:
    event = proxy_event("GET", path)
    event["requestContext"]["path"] = address or f"/dev{path}"
    answer = app.handle(event, LambdaContext())
    headers = {name.lower(): values[-1] for name, values in answer["multiValueHeaders"].items()}
    return Answer(answer["statusCode"], headers, answer["body"])


@pytest.fixture
def app(repository: InMemoryRepository) -> WebApp:
    return web_app(repository)


@pytest.fixture
def page(app: WebApp) -> Answer:
    return get(app, "/")


def policy_of(page: Answer) -> dict[str, list[str]]:
    directives = page.headers["content-security-policy"].split("; ")
    return {name: values for name, *values in (each.split(" ") for each in directives)}


def told(page: Answer) -> dict[str, Any]:
    """What the page reads from its `<meta>`."""
    found = re.search(r'name="chat-settings" content="([^"]*)"', page.text)
    assert found is not None
    settings: dict[str, Any] = json.loads(html.unescape(found[1]))
    return settings


def test_the_page_runs_nothing_but_our_own_files(page: Answer) -> None:
    policy = policy_of(page)

    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["img-src"] == ["'self'"]
    assert policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == ["'none'"]


def test_text_cannot_become_markup(page: Answer) -> None:
    policy = policy_of(page)

    assert policy["require-trusted-types-for"] == ["'script'"]
    assert policy["trusted-types"] == ["'none'"]


@pytest.mark.parametrize("module", OWN_MODULES, ids=lambda path: path.name)
def test_no_module_makes_markup_from_text(module: Path) -> None:
    sinks = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function"
    )

    assert re.findall(sinks, module.read_text()) == []


def test_the_page_has_no_script_and_no_style_of_its_own(page: Answer) -> None:
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son\w+=", page.text) == []


def test_everything_comes_from_here(page: Answer) -> None:
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page.text)

    assert addresses
    assert all(re.match(r"/dev/assets/[0-9a-f]{16}/|swagger$", each) for each in addresses)
    for file in PAGE.iterdir():
        loaded = re.findall(r"(?:from|import\(|url\()\s*[\"']?(https?:[^\"')]*)", file.read_text())
        assert loaded == [], file.name


def test_the_page_may_speak_with_its_own_servers_alone(repository: InMemoryRepository) -> None:
    with_all = web_app(
        repository,
        sign_in_url="https://pool.example.com",
        demo_sign_in_url="http://127.0.0.1:4568",
    )

    assert policy_of(get(web_app(repository), "/"))["connect-src"] == [
        "'self'",
        "wss://socket.example.com",
    ]
    assert policy_of(get(with_all, "/"))["connect-src"] == [
        "'self'",
        "wss://socket.example.com",
        "https://pool.example.com",
        "http://127.0.0.1:4568",
    ]


def test_the_page_is_told_only_the_ways_to_sign_in_that_there_are(
    repository: InMemoryRepository,
) -> None:
    hosted = web_app(repository, sign_in_url="https://pool.example.com")
    local = web_app(repository, demo_sign_in_url="http://127.0.0.1:4568")

    assert told(get(web_app(repository), "/")) == {"basePath": "/dev/", "websocketUrl": WEBSOCKET}
    assert told(get(hosted, "/"))["hostedSignIn"] == {
        "url": "https://pool.example.com",
        "clientId": "client-1",
    }
    assert told(get(local, "/"))["demoSignInUrl"] == "http://127.0.0.1:4568"


def test_what_the_page_is_told_cannot_break_out_of_it(repository: InMemoryRepository) -> None:
    hostile = 'wss://socket.example.com/"><script src="x">'

    page = get(web_app(repository, websocket_url=hostile), "/")

    assert "<script src=" not in page.text.replace('<script type="module" src="/dev/assets/', "")
    assert told(page)["websocketUrl"] == hostile


def test_the_page_is_asked_for_each_time_and_its_files_are_kept_for_ever(
    app: WebApp, page: Answer
) -> None:
    address = re.search(r'src="/dev(/assets/[^"]*)"', page.text)
    assert address is not None

    file = get(app, address[1])

    assert page.headers["cache-control"] == "no-cache"
    assert file.status == 200
    assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
    for answer in (page, file):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_each_address_of_the_page_is_served_with_its_type(app: WebApp, page: Answer) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    addresses = set(re.findall(r'(?:src|href)="/dev(/assets/[^"]*)"', page.text))

    assert {Path(each).name for each in addresses} == {"main.js", "app.css", "icon.svg"}
    for address in addresses:
        answer = get(app, address)
        assert answer.status == 200, address
        assert answer.headers["content-type"] == f"{types[Path(address).suffix]}; charset=utf-8"


def test_all_modules_are_one_file_that_holds_the_session_as_it_is(
    app: WebApp, page: Answer
) -> None:
    version = re.findall(r"assets/([0-9a-f]{16})/", page.text)[0]
    session = (CLIENT_LIBRARY / "session.js").read_text()

    script = get(app, f"/assets/{version}/main.js").text

    assert session[session.index("export class ChatSession") + len("export ") :] in script
    assert re.findall(r"^(?:import|export)\b", script, re.MULTILINE) == []


@pytest.mark.parametrize(
    "path",
    [
        "/assets/0123456789abcdef/main.js",
        "/assets/{version}/index.html",
        "/assets/{version}/none.js",
        "/assets/{version}/session.js",
        "/assets/{version}/..%2Fsettings.py",
    ],
)
def test_what_is_no_file_of_this_version_is_not_found(app: WebApp, page: Answer, path: str) -> None:
    version = re.findall(r"assets/([0-9a-f]{16})/", page.text)[0]

    answer = get(app, path.replace("{version}", version))

    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.body["status"] == 404


@pytest.mark.parametrize(
    ("address", "base_path"),
    [("/dev", "/dev/"), ("/dev/", "/dev/"), ("/", "/"), ("/chat", "/chat/"), ("/chat/", "/chat/")],
)
def test_the_page_finds_its_files_with_and_without_a_slash_at_its_end(
    app: WebApp, address: str, base_path: str
) -> None:
    page = get(app, "/", address=address)

    assert told(page)["basePath"] == base_path
    assert f'src="{base_path}assets/' in page.text


def test_on_an_emulator_the_page_lies_below_its_endpoint(repository: InMemoryRepository) -> None:
    app = web_app(repository, emulator_endpoint="127.0.0.1:4566/_aws/execute-api")

    page = get(app, "/", address="/")

    assert told(page)["basePath"] == "/_aws/execute-api/api/test/"


def test_the_session_is_the_client_librarys_own_file() -> None:
    links = [each for each in MODULES if each.is_symlink()]

    assert "session.js" in {each.name for each in links}
    assert {each.resolve().parent for each in links} == {CLIENT_LIBRARY}
    for link in links:
        assert {*IMPORT.findall(link.read_text())} <= {each.name for each in links}
        assert link.resolve().name == link.name
