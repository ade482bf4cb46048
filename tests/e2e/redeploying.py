"""Deploys a stack of the local stage with other values for its parameters."""

from collections.abc import Mapping

from devstack.local_stack import LocalStack
from devstack.stacks import DEPLOY_ORDER, Stack, StackName, Surroundings, published


class _ChangedStack(Stack):
    def __init__(
        self, name: StackName, local_stack: LocalStack, changes: Mapping[str, str]
    ) -> None:
        super().__init__(name, local_stack.config)
        self._changes = changes

    def parameters(self, surroundings: Surroundings) -> dict[str, str]:
        parameters = super().parameters(surroundings)
        known = self._changes.keys() & parameters
        return {**parameters, **{key: self._changes[key] for key in known}}


def deploy_changed(local_stack: LocalStack, name: str, changes: Mapping[str, str]) -> None:
    """With those of the changes that the stack has a parameter for; `up` takes them back."""
    (known,) = (each for each in DEPLOY_ORDER if each == name)
    surroundings = Surroundings(published=published(local_stack.clients))
    _ChangedStack(known, local_stack, changes).deploy(surroundings)
