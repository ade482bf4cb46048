"""Users of a stage's own Cognito user pool, and tokens for them."""

import contextlib
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from commons.schemas.types import UserId
from devstack.aws import AwsClients
from devstack.errors import DevstackError

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient

DEMO_USERS = ("alice", "bob")

_COGNITO_ISSUER: Final = re.compile(r"https://cognito-idp\.[a-z0-9.-]+/([A-Za-z0-9_-]+)\Z")
_USER_ID: TypeAdapter[str] = TypeAdapter(UserId)


def require_user_id(user: str) -> None:
    """Refuses a name whose token the stack would refuse.

    Raises:
        DevstackError: it is none that a user can have.
    """
    try:
        _USER_ID.validate_python(user)
    except ValidationError as error:
        raise DevstackError(
            f"{user!r} is no user id: 1 to 128 characters of A-Z a-z 0-9 . _ : @ | + -"
        ) from error


class Users:
    """Creates users and signs them in.

    Args:
        clients: of the account or emulator that holds the pool.
        issuer: of the stage's tokens.
        client_id: of the pool's client.
        password_file: holds the one password of all users that are created here.
        is_shared: the pool has users who were not created here: no password of theirs is set.

    Raises:
        DevstackError: the issuer is no Cognito user pool.
    """

    def __init__(
        self,
        clients: AwsClients,
        *,
        issuer: str,
        client_id: str,
        password_file: Path,
        is_shared: bool = False,
    ) -> None:
        pool = _COGNITO_ISSUER.match(issuer)
        if pool is None:
            raise DevstackError(
                f"Tokens come from {issuer}, which is no Cognito user pool: ask it."
            )
        self._cognito: CognitoIdentityProviderClient = clients.cognito()
        self._pool_id = pool[1]
        self._client_id = client_id
        self._password_file = password_file
        self._is_shared = is_shared

    def ensure(self, user: str) -> None:
        """Creates the user unless there is one of that name.

        Raises:
            DevstackError: nobody can have that name.
        """
        require_user_id(user)
        is_new = True
        try:
            self._cognito.admin_create_user(
                UserPoolId=self._pool_id,
                Username=user,
                TemporaryPassword=self._password(),
                MessageAction="SUPPRESS",
            )
        except self._cognito.exceptions.UsernameExistsException:
            is_new = False
        if is_new or not self._is_shared:
            self._cognito.admin_set_user_password(
                UserPoolId=self._pool_id, Username=user, Password=self._password(), Permanent=True
            )

    def token(self, user: str) -> str:
        """An access token of the user, who is created if new.

        Raises:
            DevstackError: nobody can have that name, or the pool gives no token.
        """
        self.ensure(user)
        try:
            answer = self._cognito.admin_initiate_auth(
                UserPoolId=self._pool_id,
                ClientId=self._client_id,
                AuthFlow="ADMIN_USER_PASSWORD_AUTH",
                AuthParameters={"USERNAME": user, "PASSWORD": self._password()},
            )
        except self._cognito.exceptions.NotAuthorizedException as error:
            raise DevstackError(
                f"{user} has a password of their own in the pool {self._pool_id}, which is not "
                "known here: take the name of a user who does not exist yet."
            ) from error
        token = answer.get("AuthenticationResult", {}).get("AccessToken")
        if token is None:
            raise DevstackError(f"The user pool gave no token to {user}.")
        return token

    def names(self) -> list[str]:
        pages = self._cognito.get_paginator("list_users").paginate(UserPoolId=self._pool_id)
        return [user["Username"] for page in pages for user in page["Users"]]

    def _password(self) -> str:
        """One for all, of this machine only; the affixes satisfy any password policy."""
        self._password_file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), self._password_file.open("x") as file:
            self._password_file.chmod(0o600)
            file.write(f"Aa1!{secrets.token_urlsafe(24)}")
        return self._password_file.read_text()
