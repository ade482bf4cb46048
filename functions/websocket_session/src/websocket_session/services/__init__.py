"""The rules of an open session."""
