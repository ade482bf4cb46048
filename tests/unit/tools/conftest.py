import pytest
from tests.doubles.acting_room import Room
from tests.doubles.repository import InMemoryRepository


@pytest.fixture
def room(repository: InMemoryRepository) -> Room:
    return Room(repository)
