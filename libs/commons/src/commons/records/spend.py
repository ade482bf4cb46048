"""What replies cost, as the channels table holds it (docs/adr/0028)."""

from typing import Final, Self

from commons.records.base import StoredModel


class Cost(StoredModel):
    """Requests to the model and the tokens they took, counted by the provider or estimated."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Self) -> Self:
        return type(self)(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


NO_COST: Final = Cost()


class Reservation(StoredModel):
    """Tokens set aside before a model is asked.

    Attributes:
        day: the UTC day that they count for, `YYYY-MM-DD`.
        input_tokens: of the prompt, estimated.
        tokens: of the prompt and the longest answer.
        attempt: counts a reply's, so that no two of its reservations are equal.
    """

    day: str
    user_id: str
    model_id: str
    input_tokens: int
    tokens: int
    attempt: int = 1


class Budget(StoredModel):
    """A row `(budget#scope#subject, day)`: tokens spent and set aside."""

    tokens: int = 0


class UsageRecord(StoredModel):
    """A row `(usage#C, day#user#model)`."""

    day: str
    user_id: str
    model_id: str
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
