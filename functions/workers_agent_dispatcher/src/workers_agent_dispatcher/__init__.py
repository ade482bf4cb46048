"""Queues the questions that the agent has to answer."""
