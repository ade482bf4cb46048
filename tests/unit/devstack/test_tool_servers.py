"""`CHAT_TOOLS` is looked at before anything is built."""

import json
from pathlib import Path

import pytest

from devstack.config import LocalStackConfig
from devstack.demo_tools.process import DemoTools
from devstack.errors import DevstackError
from devstack.processes import ProcessRecord, ProcessTable
from devstack.stacks import Stack, Surroundings
from devstack.tool_servers import MAX_BYTES, check_tools, tool_secrets
from workers_tools.servers import read_servers

SECRET = "arn:aws:secretsmanager:us-east-1:000000000000:secret:token-AbCdEf"


def config(tmp_path: Path, text: str | None) -> LocalStackConfig:
    file = tmp_path / "tools.json"
    if text is not None:
        file.write_text(text)
    return LocalStackConfig(tools=file, local_dir=tmp_path)


def test_without_it_the_demo_s_servers_are_offered(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path / "processes.json")
    table.add("demo tools", ProcessRecord(pid=1, created=0.0, port=4569))
    stack = LocalStackConfig(local_dir=tmp_path)

    servers = read_servers(DemoTools(stack, table).described(), "private")

    assert check_tools(stack) == []
    assert {server.name: server.url for server in servers} == {
        "clock": "http://127.0.0.1:4569/clock/mcp",
        "notes": "http://127.0.0.1:4569/notes/mcp",
    }


def test_a_server_of_this_machine_may_be_offered(tmp_path: Path) -> None:
    described = [{"name": "mine", "url": "http://127.0.0.1:8000/mcp"}]

    (server,) = check_tools(config(tmp_path, json.dumps(described)))

    assert server.name == "mine"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "CHAT_TOOLS names {file}, which cannot be read (FileNotFoundError)."),
        ("{", "{file} (CHAT_TOOLS): The text is no JSON."),
        ('[{"name": "a"}]', "{file} (CHAT_TOOLS): 0.url: Field required."),
        (" " * MAX_BYTES + "[]", "{file} (CHAT_TOOLS) is longer than 4096 bytes."),
    ],
)
def test_a_file_that_describes_no_servers_is_refused_in_one_sentence(
    tmp_path: Path, text: str | None, sentence: str
) -> None:
    settings = config(tmp_path, text)

    with pytest.raises(DevstackError) as refused:
        check_tools(settings)

    assert refused.value.explain() == sentence.replace("{file}", str(settings.tools))


def test_the_workers_may_read_the_secrets_that_it_names(tmp_path: Path) -> None:
    described = [
        {"name": name, "url": f"http://127.0.0.1:8000/{name}", "secretArn": SECRET}
        for name in ("a", "b")
    ]
    settings = config(tmp_path, json.dumps(described))

    parameters = Stack("workers", settings).parameters(
        Surroundings(tool_secret_arns=tool_secrets(settings))
    )

    assert parameters["ToolSecretArns"] == SECRET
    assert parameters["ToolServers"] == "/chat/local/tools/servers"
    assert parameters["ToolNetwork"] == "private"
