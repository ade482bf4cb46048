"""Use cases of a closed connection."""
