"""What a test tells the demo model, and what it hears of it, about its own questions alone."""

from uuid import uuid4

import httpx

type Behaviour = dict[str, object]


class ModelControl:
    """Attributes: token: stands in each of the test's questions."""

    def __init__(self, url: str) -> None:
        self.token = f"token-{uuid4()}"
        self._url = url

    def tell(self, *behaviours: Behaviour) -> None:
        told = [{"match": self.token, **behaviour} for behaviour in behaviours]
        httpx.put(f"{self._url}/control", json=told).raise_for_status()

    def asked(self) -> list[dict[str, object]]:
        answer = httpx.get(f"{self._url}/requests", params={"match": self.token})
        requests: list[dict[str, object]] = answer.json()["requests"]
        return requests
