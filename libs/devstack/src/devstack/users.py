"""Demo users in the stack's own Cognito user pool, and tokens for them."""

import contextlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.aws import AwsClients
from devstack.errors import DevstackError
from devstack.outputs import Outputs

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient

DEMO_USERS = ("alice", "bob")


class Users:
    """Creates users and signs them in."""

    def __init__(self, clients: AwsClients, outputs: Outputs, password_file: Path) -> None:
        self._cognito: CognitoIdentityProviderClient = clients.cognito()
        self._pool_id = outputs.issuer.rsplit("/", 1)[1]
        self._client_id = outputs.audience
        self._password_file = password_file

    def ensure(self, user: str) -> None:
        """Creates the user unless there is one of that name."""
        with contextlib.suppress(self._cognito.exceptions.UsernameExistsException):
            self._cognito.admin_create_user(
                UserPoolId=self._pool_id,
                Username=user,
                TemporaryPassword=self._password(),
                MessageAction="SUPPRESS",
            )
        self._cognito.admin_set_user_password(
            UserPoolId=self._pool_id, Username=user, Password=self._password(), Permanent=True
        )

    def token(self, user: str) -> str:
        """An access token of the user, who is created if new."""
        self.ensure(user)
        answer = self._cognito.initiate_auth(
            ClientId=self._client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": user, "PASSWORD": self._password()},
        )
        token = answer.get("AuthenticationResult", {}).get("AccessToken")
        if token is None:
            raise DevstackError(f"The user pool gave no token to {user}.")
        return token

    def names(self) -> list[str]:
        pages = self._cognito.get_paginator("list_users").paginate(UserPoolId=self._pool_id)
        return [user["Username"] for page in pages for user in page["Users"]]

    def _password(self) -> str:
        """One for all, of this machine only; the affixes satisfy any password policy."""
        with contextlib.suppress(FileExistsError), self._password_file.open("x") as file:
            self._password_file.chmod(0o600)
            file.write(f"Aa1!{secrets.token_urlsafe(24)}")
        return self._password_file.read_text()
