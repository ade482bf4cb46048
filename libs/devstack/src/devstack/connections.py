"""The open WebSockets of the local stack."""

from commons.dal.dynamodb import DynamoDBRepository
from commons.dal.interface import Query, Table
from commons.keys import user_connections_partition
from devstack.aws import AwsClients
from devstack.stacks import published
from devstack.users import Users


def close_all(clients: AwsClients, users: Users) -> int:
    """Closes every connection of every user; says how many were asked to go."""
    names = published(clients)
    repository = DynamoDBRepository(
        {Table.CONNECTIONS: names["data/connections-table-name"]}, client=clients.dynamodb()
    )
    management = clients.connections(names["websocket/callback-url"])
    closed = 0
    for user in users.names():
        rows = repository.iterate(
            Query(table=Table.CONNECTIONS, partition=user_connections_partition(user))
        )
        for row in rows:
            try:
                management.delete_connection(ConnectionId=str(row["sk"]))
                closed += 1
            except management.exceptions.GoneException:
                continue
    return closed
