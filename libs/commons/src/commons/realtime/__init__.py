"""Frames, and how they reach open connections."""
