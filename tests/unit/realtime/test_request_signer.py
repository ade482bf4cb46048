from datetime import UTC, datetime
from functools import cache
from urllib.parse import quote

import boto3
import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from commons.realtime.request_signer import RequestSigner

HOST = "abc123.execute-api.eu-west-1.amazonaws.com"
DIGEST = "0f" * 32
MOMENT = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)


@cache
def session_with(token: str | None) -> boto3.Session:
    return boto3.Session("AKID", "secret", token, region_name="eu-west-1")


class PlayedClock:
    def __init__(self) -> None:
        self.moment = MOMENT.timestamp()

    def __call__(self) -> float:
        return self.moment


@pytest.fixture
def clock() -> PlayedClock:
    return PlayedClock()


def credentials_of(session: boto3.Session) -> Credentials:
    credentials = session.get_credentials()
    assert credentials is not None
    return credentials


def headers(lines: str) -> dict[str, str]:
    assert lines.endswith("\r\n")
    return dict(line.split(": ", 1) for line in lines.removesuffix("\r\n").split("\r\n"))


def signed_by_botocore(session: boto3.Session, method: str, path: str) -> dict[str, str]:
    request = AWSRequest(method, f"https://{HOST}{path}", headers={"X-Amz-Content-SHA256": DIGEST})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda: MOMENT)
        auth.SigV4Auth(
            credentials_of(session).get_frozen_credentials(), "execute-api", "eu-west-1"
        ).add_auth(request)
    return dict(request.headers.items())


@given(
    connection_id=st.text(min_size=1),
    base=st.sampled_from(["", "/dev", "/_aws/execute-api/a1b2/local"]),
    method=st.sampled_from(["POST", "DELETE", "GET"]),
    token=st.sampled_from([None, "session-token"]),
)
def test_a_request_is_signed_as_botocore_signs_it(
    connection_id: str, base: str, method: str, token: str | None
) -> None:
    session = session_with(token)
    path = f"{base}/@connections/{quote(connection_id, safe='')}"

    lines = RequestSigner(session, HOST, clock=PlayedClock()).lines(method, path, DIGEST)

    assert headers(lines) == signed_by_botocore(session, method, path)


def test_the_date_is_that_of_the_request(clock: PlayedClock) -> None:
    signer = RequestSigner(session_with(None), HOST, clock=clock)
    before = headers(signer.lines("POST", "/dev/@connections/c", DIGEST))

    clock.moment += 1
    after = headers(signer.lines("POST", "/dev/@connections/c", DIGEST))

    assert (before["X-Amz-Date"], after["X-Amz-Date"]) == ("20260301T235959Z", "20260302T000000Z")
    assert "Credential=AKID/20260302/eu-west-1" in after["Authorization"]


def test_credentials_that_were_refreshed_sign_from_the_next_second_on(clock: PlayedClock) -> None:
    session = boto3.Session("AKID", "secret", "old", region_name="eu-west-1")
    signer = RequestSigner(session, HOST, clock=clock)
    signer.lines("POST", "/dev/@connections/c", DIGEST)

    credentials_of(session).token = "new"
    clock.moment += 1

    assert (
        headers(signer.lines("POST", "/dev/@connections/c", DIGEST))["X-Amz-Security-Token"]
        == "new"
    )
