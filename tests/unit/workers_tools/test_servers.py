"""The description of the servers: taken as a whole, or refused in one sentence."""

import json
from typing import Any

import pytest
from tests.doubles.canary import CANARY, canary

from workers_tools.servers import MAX_SERVERS, ToolNetwork, ToolServersError, read_servers

WHOLE = {
    "name": "notes",
    "url": "https://notes.example.com/mcp",
    "secretArn": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:notes/token-AbCdEf",
    "tools": ["add", "list.all"],
    "approval": {"add": "owner"},
}


def described(**changed: Any) -> str:
    return json.dumps([{**WHOLE, **changed}])


def refusal(text: str, network: ToolNetwork = "public") -> str:
    with pytest.raises(ToolServersError) as refused:
        read_servers(text, network)
    return str(refused.value)


def test_a_whole_description_is_taken() -> None:
    (server,) = read_servers(described(), "public")

    assert server.name == "notes"
    assert server.offers("list.all")
    assert not server.offers("remove")
    assert server.approval == {"add": "owner"}


def test_a_name_and_a_url_are_enough() -> None:
    (server,) = read_servers('[{"name": "a", "url": "https://a.example.com/mcp"}]', "public")

    assert server.secret_arn is None
    assert server.offers("anything")


def test_none_is_a_description_too() -> None:
    assert read_servers("[]", "public") == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The text is no JSON."),
        ("{", "The text is no JSON."),
        ('{"name": "notes"}', "Input should be a valid array."),
        (described(name="no.dot"), "0.name: "),
        (described(name="Notes"), "0.name: "),
        (described(name=""), "0.name: "),
        (described(name="x" * 33), "0.name: "),
        (described(name=7), "0.name: "),
        (described(url="notes.example.com"), "0.url: is no whole URL"),
        (described(url="file:///etc/passwd"), "0.url: is no whole URL"),
        (described(url="https:///mcp"), "0.url: is no whole URL"),
        (described(url="https://a:b@example.com/mcp"), "0.url: holds a user or a password"),
        (described(url="https://example.com/mcp#part"), "0.url: holds what no request"),
        (described(url="https://example.com/m cp"), "0.url: holds what no request"),
        (described(url="https://example.com:port/mcp"), "0.url: is no URL"),
        (described(url="https://[::1/mcp"), "0.url: is no URL"),
        (described(url="https://example.com/" + "x" * 2_048), "0.url: "),
        (described(secretArn="s3cr3t"), "0.secretArn: "),
        (described(tools="add"), "0.tools: "),
        (described(tools=["a b"]), "0.tools.0: "),
        (described(approval={"add": "everybody"}), "0.approval.add: "),
        (described(approval={"remove": "owner"}), "approval of the server notes: remove is not"),
        (described(headers={}), "0.headers: "),
        (json.dumps([WHOLE, WHOLE]), "Two servers have the name notes."),
        (
            json.dumps([{**WHOLE, "name": f"n{each}"} for each in range(MAX_SERVERS + 1)]),
            "There are more than 16 servers.",
        ),
        ('[{"name": "notes"}]', "0.url: Field required."),
    ],
)
def test_a_wrong_description_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    assert refusal(text).startswith(sentence)


def test_http_is_for_private_networks() -> None:
    plain = described(url="http://notes.example.com/mcp")

    assert refusal(plain).startswith("url of the server notes: has to be https")
    assert read_servers(plain, "private")


def test_a_refusal_repeats_no_value() -> None:
    text = json.dumps([{"name": canary("name"), "url": canary("url"), "secretArn": canary("arn")}])

    assert CANARY not in refusal(text)
    assert CANARY not in refusal(described(url=f"ftp://{CANARY}"))
