import pytest

from commons.dal import IRepository


@pytest.fixture(params=["repository", "moto_repository"], ids=["memory", "dynamodb"])
def storage(request: pytest.FixtureRequest) -> IRepository:
    """Every repository there is, one after the other: one contract for all."""
    chosen: IRepository = request.getfixturevalue(request.param)
    return chosen
