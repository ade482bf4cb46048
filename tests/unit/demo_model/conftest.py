from collections.abc import Iterator

import pytest

from devstack.demo_model.background import demo_model


@pytest.fixture(scope="session")
def model_url() -> Iterator[str]:
    with demo_model() as url:
        yield url
