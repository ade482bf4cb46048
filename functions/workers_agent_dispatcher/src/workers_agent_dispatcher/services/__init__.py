"""Which questions the agent answers."""
