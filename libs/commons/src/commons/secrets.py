"""Secrets that a stack's template makes, as the functions read them."""

from commons.aws import secretsmanager_client
from commons.aws_errors import AWS_ERRORS, storage_error


def stored_secret(arn: str) -> str:
    """The secret's text, from Secrets Manager; keep it.

    Raises:
        StorageUnavailableError: Secrets Manager did not serve it.
        RepositoryError: it refused to.
    """
    try:
        return secretsmanager_client().get_secret_value(SecretId=arn)["SecretString"]
    except AWS_ERRORS as error:
        raise storage_error("Secrets Manager", error) from error
