"""The base of every service."""

from functools import cache

from commons.dal import DynamoDBRepository, IRepository


@cache
def default_repository() -> IRepository:
    """The deployed tables: one repository, one client, for the life of a warm function."""
    return DynamoDBRepository()


class BaseService:
    """Rules over a repository.

    Args:
        repository: any IRepository; by default the deployed tables.
    """

    def __init__(self, repository: IRepository | None = None) -> None:
        self.repository = repository if repository is not None else default_repository()
