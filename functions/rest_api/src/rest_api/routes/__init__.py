"""The routes by resource: each parses, calls one service, answers."""
