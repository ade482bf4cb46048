"""Two MCP servers of the local stack: a clock that tells the time, and notes that one can add."""
