"""The house rules of docs/architecture.md as checks: imports point one way, nothing is made twice."""

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
COMMONS = ROOT / "libs" / "commons" / "src" / "commons"
MEMBERS = {
    path.name: path for path in sorted((ROOT / "functions").glob("*/src/*")) if path.is_dir()
}
OTHER_LIBRARIES = {"devstack", "chat_client"}

AWS_MODULES = {
    "commons.aws": "builds the clients",
    "commons.aws_errors": "reads how AWS fails",
    "commons.dal.calls": "reads what DynamoDB refuses",
    "commons.realtime.broadcaster": "takes the session that posts are signed with",
    "commons.realtime.callback_api": "believes the certificates that boto3 believes",
    "commons.realtime.request_signer": "signs posts itself, at a sixth of boto3's cost",
    "websocket_connect.gateway": "asks API Gateway which connections still live",
    "workers_agent.providers.bedrock": "speaks to Bedrock",
    "workers_agent.tool_function": "asks the function that calls tools",
    "workers_tools.parameters": "reads the parameter that describes the tools' servers",
}
"""Thin adapters: the only modules of the product that may import boto3 or botocore."""

RESOURCE_CALLS = {
    "create_api_mapping",
    "create_bucket",
    "create_event_source_mapping",
    "create_function",
    "create_log_group",
    "create_queue",
    "create_rest_api",
    "create_role",
    "create_secret",
    "create_table",
    "create_topic",
    "create_user_pool",
    "create_user_pool_client",
    "put_parameter",
}
DECORATORS = ["metrics.log_metrics", "log.inject_lambda_context", "tracer.capture_lambda_handler"]


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.split(".")[0]

    def __str__(self) -> str:
        return self.name


@cache
def modules_of(package: Path) -> Sequence[Module]:
    modules = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        modules.append(Module(name, path, ast.parse(path.read_text())))
    return modules


def product() -> list[Module]:
    return [module for package in (COMMONS, *MEMBERS.values()) for module in modules_of(package)]


def imports(module: Module) -> Iterator[str]:
    """Absolute names of what the module imports, names inside modules included."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names):
                yield from (name.name for name in names)
            case ast.ImportFrom(source, names, level):
                assert not level, f"{module}: imports are absolute"
                yield str(source)
                yield from (f"{source}.{name.name}" for name in names)


def is_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def breaches(modules: Sequence[Module], *forbidden: str) -> list[str]:
    return [
        f"{module} imports {name}"
        for module in modules
        for name in imports(module)
        if is_in(name, *forbidden)
    ]


def test_there_is_a_product_to_check() -> None:
    assert MEMBERS
    assert len(product()) > 50


def test_commons_imports_no_function_and_no_other_library() -> None:
    assert breaches(modules_of(COMMONS), *MEMBERS, *OTHER_LIBRARIES) == []


@pytest.mark.parametrize("member", MEMBERS)
def test_a_function_imports_no_other_function(member: str) -> None:
    others = set(MEMBERS) - {member} | OTHER_LIBRARIES

    assert breaches(modules_of(MEMBERS[member]), *others) == []


def test_the_dal_knows_nothing_of_services_schemas_and_keys() -> None:
    allowed = (
        "commons.dal",
        "commons.dynamodb",
        "commons.aws",
        "commons.aws_errors",
        "commons.errors",
        "commons.settings",
    )
    dal = [module for module in product() if is_in(module.name, "commons.dal", "commons.dynamodb")]

    strangers = [
        f"{module} imports {name}"
        for module in dal
        for name in imports(module)
        if is_in(name, "commons", *MEMBERS) and not is_in(name, *allowed)
    ]

    assert [stranger for stranger in strangers if not stranger.endswith(" commons")] == []


def test_services_know_no_handler() -> None:
    for package in (COMMONS, *MEMBERS.values()):
        services = [module for module in modules_of(package) if ".services" in module.name]
        handlers = [
            f"{member}.{edge}" for member in MEMBERS for edge in ("handler", "app", "routes")
        ]

        assert breaches(services, *handlers) == []


def test_schemas_know_no_service_and_no_storage() -> None:
    schemas = [module for module in product() if ".schemas" in module.name]

    known = breaches(schemas, "commons.services", "commons.dal")

    assert [breach for breach in known if not breach.endswith((" commons.dal", ".Item"))] == []


def test_handlers_ask_services_and_never_storage_or_aws() -> None:
    edges = [
        module
        for module in product()
        if module.name.split(".")[1:2] in (["handler"], ["app"], ["routes"])
    ]

    asked = [
        breach
        for breach in breaches(edges, "commons.dal", "boto3", "botocore", "commons.aws")
        # A stream's handler reads images: the same items, in DynamoDB's own spelling.
        if not breach.endswith(("imports commons.dal", "imports commons.dal.deserialize"))
        and not breach.endswith("imports commons.dal.Item")
    ]

    assert asked == []


def test_only_thin_adapters_import_an_aws_library() -> None:
    importers = {
        module.name
        for module in product()
        if breaches([module], "boto3", "botocore", "aiobotocore", "aioboto3")
    }

    assert importers == set(AWS_MODULES)


def test_only_commons_aws_builds_a_dynamodb_client() -> None:
    makers = [
        module.name
        for module in product()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and any(isinstance(arg, ast.Constant) and arg.value == "dynamodb" for arg in node.args)
    ]

    assert makers == ["commons.aws"]


def test_settings_alone_read_the_environment() -> None:
    readers = {
        module.name
        for module in product()
        if breaches([module], "os.environ", "os.getenv")
        or any(
            isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            for node in ast.walk(module.tree)
        )
    }

    # By Powertools' own variables, before there are settings: whether to import the X-Ray SDK.
    assert readers == {"commons.observability"}


def test_no_code_creates_a_resource() -> None:
    sources = [
        path
        for folder in ("functions", "libs", "tests", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(__file__)
    ]
    assert sources

    created = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.func.attr}"
        for path in sources
        # Most files name none of them, and take long to parse.
        if any(call in (text := path.read_text()) for call in RESOURCE_CALLS)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in RESOURCE_CALLS
    ]

    assert created == []


def test_no_browser_test_asserts_a_text_that_it_has_not_waited_for() -> None:
    looks = [
        f"{path.name}:{node.lineno}"
        for path in (ROOT / "tests/browser").glob("test_*.py")
        for statement in ast.walk(ast.parse(path.read_text()))
        if isinstance(statement, ast.Assert)
        for node in ast.walk(statement)
        if isinstance(node, ast.Attribute) and node.attr in {"texts", "messages", "find"}
    ]

    assert looks == []


# -- handlers


@pytest.mark.parametrize("member", MEMBERS)
def test_a_handler_is_synchronous_and_carries_the_three_decorators(member: str) -> None:
    tree = ast.parse((MEMBERS[member] / "handler.py").read_text())
    (handler,) = (
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name == "lambda_handler"
    )

    assert isinstance(handler, ast.FunctionDef)
    carried = [ast.unparse(decorator).split("(")[0] for decorator in handler.decorator_list]
    assert [name for name in carried if name in DECORATORS] == DECORATORS


@pytest.mark.parametrize("member", MEMBERS)
def test_a_traced_handler_never_records_what_it_answers(member: str) -> None:
    source = (MEMBERS[member] / "handler.py").read_text()

    assert "@tracer.capture_lambda_handler(capture_response=False)" in source


IMPORTS_IN_FORKS = """
import importlib, os, sys, traceback

sys.dont_write_bytecode = True
# What all of them need is imported once.
import boto3, botocore.session, pydantic, pydantic_settings, commons.observability

failed = []
for member in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(f"{member}.handler")
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        failed.append(member)
sys.exit(" ".join(failed) or None)
"""


def test_every_handler_is_imported_with_nothing_in_the_environment() -> None:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTS_IN_FORKS, *MEMBERS],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr


# -- the shape of a member


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_holds_its_handler_and_a_py_typed_marker(member: str) -> None:
    files = {path.name for path in MEMBERS[member].iterdir()}

    assert {"__init__.py", "handler.py", "py.typed"} <= files


def test_services_live_in_services_packages_and_inherit_base_service() -> None:
    services = [
        (module, node)
        for module in product()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and node.name.endswith("Service")
        and not any(ast.unparse(base) == "Protocol" for base in node.bases)
    ]
    assert services

    for module, node in services:
        if node.name == "BaseService":
            continue
        assert ".services." in f"{module.name}.", f"{module}.{node.name} lives outside services"
        bases = [ast.unparse(base) for base in node.bases]
        assert any(
            base == "BaseService" or base.endswith("Service") for base in bases
        ), f"{module}.{node.name} does not inherit BaseService"


def test_models_are_built_on_our_own_bases() -> None:
    models = [
        f"{module}.{node.name}"
        for module in product()
        if module.name not in {"commons.schemas.base", "commons.records.base"}
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base) in {"BaseModel", "pydantic.BaseModel"} for base in node.bases)
    ]

    assert models == []


def test_settings_live_in_settings_modules() -> None:
    strays = [
        module.name
        for module in product()
        if not module.name.endswith(".settings") and breaches([module], "pydantic_settings")
    ]

    assert strays == []


# -- dependencies


def test_dependencies_stand_in_pyproject_files_only() -> None:
    skipped = {".venv", ".venv-emulator", ".git", ".local", ".aws-sam", "node_modules"}
    found = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("requirements*.txt")
        if not skipped.intersection(path.relative_to(ROOT).parts)
    ]

    assert found == []


@pytest.mark.parametrize(
    "project", sorted(ROOT.glob("*/*/pyproject.toml")), ids=lambda p: p.parent.name
)
def test_no_member_depends_on_a_web_framework(project: Path) -> None:
    declared = tomllib.loads(project.read_text())["project"].get("dependencies", [])

    assert not [name for name in declared if name.lower().startswith(("fastapi", "flask"))]


def test_no_module_imports_a_web_framework() -> None:
    assert breaches(product(), "fastapi", "starlette", "flask", "mangum") == []


@pytest.mark.parametrize("member", MEMBERS)
def test_a_function_gets_commons_from_the_layer_and_never_boto3_of_its_own(member: str) -> None:
    project = tomllib.loads((ROOT / "functions" / member / "pyproject.toml").read_text())

    declared = [name.split(">")[0].split("[")[0] for name in project["project"]["dependencies"]]

    assert "commons" in declared
    assert "boto3" not in declared
