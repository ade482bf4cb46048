"""Users of a user pool, and tokens for them."""

from pathlib import Path

import pytest

from devstack.aws import AwsClients
from devstack.errors import DevstackError
from devstack.users import Users, require_user_id


@pytest.mark.parametrize("user", ["alice", "a" * 128, "A.b_c:d@e|f+g-1"])
def test_a_user_id_is_taken(user: str) -> None:
    require_user_id(user)


@pytest.mark.parametrize("user", ["", "bad user!", "a" * 129, "#agent", "älice", "alice\n"])
def test_what_is_no_user_id_is_refused(user: str) -> None:
    with pytest.raises(DevstackError, match="is no user id"):
        require_user_id(user)


def test_tokens_of_another_issuer_are_asked_for_there(tmp_path: Path) -> None:
    with pytest.raises(DevstackError, match=r"no Cognito user pool"):
        Users(
            AwsClients(None),
            issuer="https://login.example.com/tenant",
            client_id="c",
            password_file=tmp_path / "password",
        )
