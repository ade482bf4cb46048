"""How a question becomes a reply."""
