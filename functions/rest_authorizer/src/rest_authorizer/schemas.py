"""What API Gateway asks of an authorizer, and what it is answered."""

from typing import Any, Literal

from pydantic import Field

from commons.records.base import StoredModel
from commons.schemas.caller import Caller


class AuthorizerRequest(StoredModel):
    """The event of a REQUEST authorizer, as far as it is read here."""

    method_arn: str = Field(alias="methodArn")
    headers: dict[str, str] | None = None

    @property
    def authorization(self) -> str | None:
        """The header, however its name is spelled."""
        for name, value in (self.headers or {}).items():
            if name.lower() == "authorization":
                return value
        return None


def allowing(caller: Caller, method_arn: str) -> dict[str, Any]:
    """Lets the caller in, and says who it is to the function behind."""
    context = {"userId": caller.user_id, "expiresAt": str(caller.expires_at)}
    if caller.name is not None:
        context["name"] = caller.name
    return {**_policy("Allow", caller.user_id, method_arn), "context": context}


def refusing(method_arn: str) -> dict[str, Any]:
    """A 401 by the gateway's answer to ACCESS_DENIED.

    Raising `Unauthorized` would give a 401 too, but count as an error of the function: its alarm
    could not tell expired tokens from a broken authorizer, and no refusal would be cached.
    """
    return _policy("Deny", "anonymous", method_arn)


def _policy(effect: Literal["Allow", "Deny"], principal_id: str, method_arn: str) -> dict[str, Any]:
    """For the whole stage: API Gateway caches it by token, not by path."""
    api_and_stage = "/".join(method_arn.split("/")[:2])
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": effect,
        "Resource": f"{api_and_stage}/*",
    }
    return {
        "principalId": principal_id,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
    }
