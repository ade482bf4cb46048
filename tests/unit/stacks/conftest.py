"""The templates, parsed once."""

from functools import cache

import pytest
from tools.templates import STACKS, STACKS_ROOT, Template


@cache
def template_of(stack: str) -> Template:
    return Template.load(STACKS_ROOT / stack / "template.yaml")


@pytest.fixture
def templates() -> dict[str, Template]:
    """Every stack's template, by the stack's name, in the order of deployment."""
    return {stack: template_of(stack) for stack in STACKS}


@pytest.fixture(params=STACKS)
def template(request: pytest.FixtureRequest) -> Template:
    """Each stack's template in turn."""
    return template_of(request.param)
