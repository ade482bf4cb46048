"""What storage can answer besides an item."""
