"""How many random sequences the stateful tests try."""

import os
from typing import Final

SEQUENCES: Final = 500 if os.environ.get("CHAT_TEST_THOROUGH") else 120
"""Fewer while somebody waits for the suite; all of them in `poe test-thorough`, which CI runs."""
