"""Who gets which events, and how they are brought there."""
