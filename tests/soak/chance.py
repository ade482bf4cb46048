"""Chance that can be repeated."""

import random


def seeded(seed: float) -> random.Random:
    return random.Random(seed)  # noqa: S311 - chooses deeds, guards nothing
