"""Does what is due, every minute."""
