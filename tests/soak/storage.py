"""The stack's tables, for looking behind the API."""

from commons.dal import DynamoDBRepository, IRepository, Table
from devstack.config import STAGE
from devstack.local_stack import LocalStack


def repository_of(stack: LocalStack) -> IRepository:
    names = {table: f"chat-{STAGE}-{table.value}" for table in Table}
    return DynamoDBRepository(names, client=stack.clients.dynamodb())
