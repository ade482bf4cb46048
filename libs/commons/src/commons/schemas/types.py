"""Field types and limits of the contract (CONTRACT, section 2, *Shapes*)."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from commons.errors import TooLargeError

MAX_TEXT = 16_000
"""Unicode code points."""

MAX_METADATA_BYTES = 2_048
MAX_EDITS = 50


def _integral(value: object) -> object:
    """JSON has one kind of number: 12.0 and 12 are the same."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integral = BeforeValidator(_integral)
"""For strict integers: what is integral passes, however JSON spells it; no text, no boolean."""


def _not_too_long(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise TooLargeError(f"text: at most {MAX_TEXT} characters")
    return text


MessageText = Annotated[str, Field(min_length=1), AfterValidator(_not_too_long)]
"""1 to 16,000 code points, stored as it came; more raises TooLargeError (413), not a 422.

An unpaired surrogate is refused by pydantic itself, here and in every other string."""

ChannelName = Annotated[str, Field(min_length=1, max_length=120)]
UserId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@|+-]{1,128}$")]
ClientMessageId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]
Emoji = Annotated[str, Field(min_length=1, max_length=32)]
Seq = Annotated[int, Field(ge=1, le=10**12, strict=True), Integral]
