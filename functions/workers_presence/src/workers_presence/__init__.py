"""Tells a channel who comes and goes, and what could not be told yet of who types."""
