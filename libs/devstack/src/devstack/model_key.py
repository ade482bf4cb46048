"""The key of a model server of one's own, in the local stack's Secrets Manager."""

from pathlib import Path
from typing import Final

from pydantic import SecretStr

from devstack.aws import AwsClients
from devstack.config import LocalStackConfig
from devstack.errors import DevstackError
from devstack.stacks import DEPLOY_SECONDS, deploy_arguments, describe, run_sam

STACK_NAME: Final = "chat-local-model-key"
TEMPLATE: Final = Path(__file__).with_name("model_key.yaml")


class ModelKey:
    """A secret that a template of its own makes, and whose value is never an argument or a log line."""

    def __init__(self, config: LocalStackConfig, clients: AwsClients) -> None:
        self._config = config
        self._clients = clients

    def arn(self) -> str:
        """The secret's ARN; empty where there is none, or the settings name no key."""
        if self._config.model_key is None:
            return ""
        stack = describe(self._clients.cloudformation(), STACK_NAME)
        outputs = stack.get("Outputs", []) if stack is not None else []
        secret = next((output["OutputValue"] for output in outputs), "")
        # The emulator's `Ref` of a secret is its name, and a role is granted the ARN.
        return self._clients.secrets().describe_secret(SecretId=secret)["ARN"] if secret else ""

    def deploy(self) -> bool:
        """Makes the secret hold the settings' key; says whether it held another before.

        Raises:
            DevstackError: the secret's stack could not be deployed.
        """
        if self._config.model_key is None:
            return False
        if not self.arn():
            run_sam(
                self._config,
                "model-key",
                [*deploy_arguments(STACK_NAME), "--template-file", str(TEMPLATE)],
                directory=TEMPLATE.parent,
                seconds=DEPLOY_SECONDS,
            )
        arn = self.arn()
        if not arn:
            raise DevstackError(f"The stack {STACK_NAME} has no secret.")
        return self._put(arn, self._config.model_key)

    def _put(self, arn: str, key: SecretStr) -> bool:
        secrets = self._clients.secrets()
        if secrets.get_secret_value(SecretId=arn)["SecretString"] == key.get_secret_value():
            return False
        secrets.put_secret_value(SecretId=arn, SecretString=key.get_secret_value())
        return True
