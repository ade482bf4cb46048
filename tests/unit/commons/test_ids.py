"""Ids that the product makes."""

import secrets

import pytest

from commons.ids import new_channel_id


def test_a_channel_id_is_never_taken_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["-Zt8bq1uX0cQmW5yKp3hD7", "--t8bq1uX0cQmW5yKp3hD7", "Zt8bq1uX0cQmW5yKp3hD7-"])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _bytes: next(drawn))

    assert new_channel_id() == "Zt8bq1uX0cQmW5yKp3hD7-"
