"""Tokens of a user pool that others use as well, as a deployed stage's is."""

import secrets
from pathlib import Path

import jwt
import pytest

from devstack.errors import DevstackError
from devstack.local_stack import LocalStack
from devstack.outputs import Outputs
from devstack.users import Users


@pytest.fixture
def users(local_stack: LocalStack, outputs: Outputs, tmp_path: Path) -> Users:
    return Users(
        local_stack.clients,
        issuer=outputs.issuer,
        client_id=outputs.audience,
        password_file=tmp_path / "stages" / "dev" / "password",
        is_shared=True,
    )


def test_a_user_who_is_new_gets_a_token_and_another_one_later(users: Users) -> None:
    name = f"erin-{secrets.token_hex(4)}"

    for _ in range(2):
        token = users.token(name)
        assert jwt.decode(token, options={"verify_signature": False})["username"] == name


def test_somebody_elses_password_is_not_changed(
    users: Users, local_stack: LocalStack, outputs: Outputs
) -> None:
    name = f"frank-{secrets.token_hex(4)}"
    local_stack.users(outputs).ensure(name)
    pool, client = outputs.issuer.rsplit("/", 1)[1], outputs.audience
    own = secrets.token_urlsafe(24)
    cognito = local_stack.clients.cognito()
    cognito.admin_set_user_password(UserPoolId=pool, Username=name, Password=own, Permanent=True)

    with pytest.raises(DevstackError, match="a password of their own"):
        users.token(name)

    signed_in = cognito.admin_initiate_auth(
        UserPoolId=pool,
        ClientId=client,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": name, "PASSWORD": own},
    )
    assert signed_in["AuthenticationResult"]["AccessToken"]
