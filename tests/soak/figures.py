"""What a run saw, in lines."""

from collections.abc import Sequence

from tests.soak.notes import Notes


class Figures:
    """Prints each figure as it is added."""

    def add(self, what: str, value: object) -> None:
        print(f"  {what:<58} {value}", flush=True)

    def spread(self, what: str, values: Sequence[float]) -> None:
        """Median, 95th hundredth and greatest."""
        ordered = sorted(values)
        if not ordered:
            self.add(what, "none")
            return
        median, high = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95))
        self.add(
            what, f"{median:.2f} median, {high:.2f} p95, {ordered[-1]:.2f} most, of {len(ordered)}"
        )

    def add_counts(self, notes: Notes) -> None:
        for what, count in sorted(notes.counts.items()):
            self.add(what, count)
