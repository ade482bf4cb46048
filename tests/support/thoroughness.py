"""How many random sequences the stateful tests try, and examples the others."""

import os
from typing import Final

_IS_THOROUGH: Final = bool(os.environ.get("CHAT_TEST_THOROUGH"))

SEQUENCES: Final = 500 if _IS_THOROUGH else 120
"""Fewer while somebody waits for the suite; all of them in `poe test-thorough`, which CI runs."""

EXAMPLES: Final = 400 if _IS_THOROUGH else 50
"""Of a test that says no number of its own."""
