"""Fixtures that every area of the tests shares (tests/agents.md says how to use them)."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from io import StringIO
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

import boto3
import pytest
from aws_lambda_powertools.metrics.provider.cloudwatch_emf import cloudwatch
from botocore.client import BaseClient
from hypothesis import settings
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # no stubs
from tests.doubles.canary import CANARY
from tests.doubles.repository import InMemoryRepository
from tests.support.thoroughness import EXAMPLES

from commons import aws as aws_clients
from commons.dal import DynamoDBRepository, Table
from commons.observability import log, metrics
from commons.schemas.problem import Problem
from commons.services import base

if TYPE_CHECKING:
    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.models.table import Table as MotoTable
    from mypy_boto3_dynamodb import DynamoDBClient

ROOT = Path(__file__).parent.parent
DATA_TEMPLATE = ROOT / "stacks" / "data" / "template.yaml"
STAGE = "test"

ENVIRONMENT = {
    # Credentials of nobody: a call that no fake catches ends in a refusal, not in an account.
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_REGION": "eu-west-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_SERVICE_NAME": "tests",
    "POWERTOOLS_METRICS_NAMESPACE": "Chat",
    "POWERTOOLS_TRACE_DISABLED": "true",
    "STAGE": STAGE,
}


def pytest_configure() -> None:
    """Before anything is imported: Powertools reads the environment when it is."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "POWERTOOLS_"))]:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    # A machine that others use too is slow now and then: that is no test's failure.
    settings.register_profile("suite", deadline=None, max_examples=EXAMPLES)
    settings.load_profile("suite")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than the machine has cores: tests wait for a third of their time."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def _fresh_clients() -> Iterator[None]:
    """What a warm function keeps does not outlive a test."""
    yield
    for build in (
        aws_clients.dynamodb_client,
        aws_clients.secretsmanager_client,
        aws_clients.sqs_client,
        base.default_repository,
    ):
        build.cache_clear()
    metrics.clear_metrics()


class _LogLines(logging.StreamHandler[StringIO]):
    """Keeps what is logged, as Powertools writes it."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__(StringIO())
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(autouse=True)
def _nothing_secret_gets_out(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test whose log lines, metrics or problems hold the canary word."""
    logger = logging.getLogger(log.service)
    kept = _LogLines(logger.handlers[0].formatter if logger.handlers else None)
    logger.addHandler(kept)
    told: list[str] = []

    def publish(line: str) -> None:
        told.append(line)
        print(line)

    monkeypatch.setattr(cloudwatch, "print", publish, raising=False)
    make = Problem.__init__

    def making(self: Problem, **fields: object) -> None:
        told.append(repr(fields))
        make(self, **fields)

    monkeypatch.setattr(Problem, "__init__", making)
    yield
    logger.removeHandler(kept)
    assert [line for line in (*kept.lines, *told) if CANARY in line] == []


@pytest.fixture
def repository() -> InMemoryRepository:
    """All three tables, empty, in memory: the first choice of a service's tests."""
    return InMemoryRepository()


@pytest.fixture
def moto_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS as moto plays it, empty; clients must be built after this.

    One call at a time: moto copies its tables in a transaction, and fails where another thread
    writes meanwhile.
    """
    one_call, call = RLock(), BaseClient._make_api_call  # type: ignore[attr-defined]  # not in stubs

    def in_turn(client: BaseClient, operation: str, arguments: object) -> object:
        with one_call:
            return call(client, operation, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", in_turn)
    # Requests of boto3's are caught by a hook of its own: the 1,288 patterns for others are not set.
    monkeypatch.setattr("moto.core.models.RESPONSES_METHODS", [])
    # One session for all tests has read the services' descriptions once.
    with mock_aws(config={"core": {"reset_boto3_session": False}}):
        yield


@cache
def _tables_template() -> str:
    """The data stack's template without what moto does not know: the SAM transform."""
    template = yaml_parse(DATA_TEMPLATE.read_text())
    tables = {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::DynamoDB::Table"
    }
    parts = {name: template[name] for name in ("Parameters", "Conditions") if name in template}
    return json.dumps({**parts, "Resources": tables})


def deploy_tables() -> dict[Table, str]:
    """The tables of the data stack's own template, through CloudFormation; their names."""
    boto3.client("cloudformation").create_stack(
        StackName=f"chat-{STAGE}-data",
        TemplateBody=_tables_template(),
        Parameters=[
            {"ParameterKey": "Stage", "ParameterValue": STAGE},
            {"ParameterKey": "ProtectData", "ParameterValue": "false"},
        ],
    )
    return {table: f"chat-{STAGE}-{table}" for table in Table}


@cache
def _tables_as_deployed() -> tuple[dict[Table, str], "Mapping[str, MotoTable]"]:
    """Of this process's first test that needs them, before it wrote anything.

    A deployment takes a third of a second each time, most of it for a key that nobody uses.
    """
    names = deploy_tables()
    return names, deepcopy(_moto_tables().tables)


def _moto_tables() -> "DynamoDBBackend":
    return dynamodb_backends[DEFAULT_ACCOUNT_ID][ENVIRONMENT["AWS_DEFAULT_REGION"]]


@pytest.fixture
def table_names(moto_aws: None, monkeypatch: pytest.MonkeyPatch) -> dict[Table, str]:
    """The deployed tables in moto, their names in the environment."""
    names, tables = _tables_as_deployed()
    _moto_tables().tables = dict(deepcopy(tables))
    for table, name in names.items():
        monkeypatch.setenv(f"{table.upper()}_TABLE", name)
    return names


@pytest.fixture
def dynamodb(moto_aws: None) -> "DynamoDBClient":
    """A plain client, for a test that looks behind the repository."""
    return boto3.client("dynamodb")


@pytest.fixture
def moto_repository(
    table_names: dict[Table, str], dynamodb: "DynamoDBClient"
) -> DynamoDBRepository:
    """The real repository on moto's tables."""
    return DynamoDBRepository(table_names, client=dynamodb)
