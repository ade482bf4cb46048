"""Use cases of the timer."""
