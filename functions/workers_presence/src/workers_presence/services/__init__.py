"""Who is online in a channel, and who is told."""
