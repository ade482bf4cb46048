"""Use cases of the tools' function."""
