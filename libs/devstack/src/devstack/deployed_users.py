"""Users of a stage that is deployed to AWS."""

from devstack.aws import AwsClients
from devstack.config import ROOT
from devstack.deploying.plan import region_of
from devstack.errors import DevstackError
from devstack.stacks import published
from devstack.users import Users


def deployed_users(stage: str) -> Users:
    """Of the pool that the stage's data stack publishes, in the account of this shell.

    Raises:
        DevstackError: there is no such stage, or its tokens come from elsewhere.
    """
    clients = AwsClients(None, region=region_of(stage))
    names = published(clients, stage)
    try:
        issuer, client_id = names["data/jwt-issuer"], names["data/jwt-audience"]
    except KeyError as error:
        raise DevstackError(
            f"No data stack of stage {stage} is deployed in this account and region."
        ) from error
    return Users(
        clients,
        issuer=issuer,
        client_id=client_id,
        password_file=ROOT / ".local" / "stages" / stage / "password",
        is_shared=True,
    )
