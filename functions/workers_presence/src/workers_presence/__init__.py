"""Tells a channel who comes online and who goes offline."""
