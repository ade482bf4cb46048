"""Broadcasts each appended event to the channel's open connections."""
