"""Answers a question with the channel's model, streaming."""
