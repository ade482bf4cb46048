"""A terminal client on `ChatSession`: `talk` full-screen, `ask` for scripts."""
