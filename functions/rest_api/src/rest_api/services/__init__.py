"""The rules that only the REST API has."""
