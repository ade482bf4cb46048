"""Calls tools of MCP servers, and keeps the catalogue of what they offer."""
