"""How fast a reply's worker goes about things; tests go faster."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times in seconds.

    Attributes:
        lease: how long a claim holds without a heartbeat.
        heartbeat: between two; several fit into a lease.
        look: between two looks at the row (is it cancelled?) and at who listens: a cancel must
            end a reply within 2 s, a member removed must hear nothing after 1.
        taking: for so long from its batch on a worker takes further questions while it waits.
        take: between two looks at the queue for them.
        hidden: how long a question stays hidden in the queue from each heartbeat on; a dead
            worker's is seen again after that.
        idle: without a token.
        total: for a reply, retries included.
        first_backoff: before the first retry at most; it doubles with each.
        last_deltas: what the end of a reply waits for its deltas at most.
        patience: how long a finished text is tried to be appended while storage is in trouble.
        post: for one frame to everybody; who has not taken it by then gets a snapshot later. A
            removed member hears nothing after `look` and this.
        frame: between two delta frames of a channel.
        frames_per_second: delta frames to all of a channel's connections together.
    """

    lease: float = 15.0
    heartbeat: float = 4.0
    look: float = 0.5
    taking: float = 120.0
    take: float = 1.0
    hidden: int = 30
    idle: float = 20.0
    total: float = 120.0
    first_backoff: float = 1.0
    last_deltas: float = 0.3
    patience: float = 30.0
    post: float = 0.4
    frame: float = 0.1
    frames_per_second: float = 1_000.0
