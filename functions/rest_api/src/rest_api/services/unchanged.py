"""How a draft says that there is nothing to append."""


class UnchangedError(Exception):
    """The state is as asked for; no event is written. Caught where it is raised from."""
