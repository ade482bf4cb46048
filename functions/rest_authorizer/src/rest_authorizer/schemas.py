"""What API Gateway asks of an authorizer, and what it is answered."""

from typing import Any

from pydantic import Field

from commons.schemas.base import StoredModel
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
    """A policy for the whole stage: API Gateway caches it by token, not by path."""
    api_and_stage = "/".join(method_arn.split("/")[:2])
    context = {"userId": caller.user_id, "expiresAt": str(caller.expires_at)}
    if caller.name is not None:
        context["name"] = caller.name
    return {
        "principalId": caller.user_id,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow",
                    "Resource": f"{api_and_stage}/*",
                }
            ],
        },
        "context": context,
    }
