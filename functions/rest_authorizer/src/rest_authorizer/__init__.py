"""Decides for API Gateway whether a bearer token is valid."""
