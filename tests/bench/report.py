"""Where figures go: a table on stdout, and a section of `.local/bench.json`."""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from commons.clock import now, rfc3339

type Row = Mapping[str, object]

RESULTS = Path(__file__).parents[2] / ".local" / "bench.json"


def save(section: str, rows: Sequence[Row]) -> None:
    """Replaces one section and keeps the others."""
    RESULTS.parent.mkdir(exist_ok=True)
    sections = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    sections[section] = {
        "measuredAt": rfc3339(now()),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "rows": list(rows),
    }
    RESULTS.write_text(json.dumps(sections, indent=2) + "\n")


def table(title: str, rows: Sequence[Row]) -> None:
    """Prints rows that share their columns."""
    columns = list(rows[0])
    cells = [columns, *([_cell(row[column]) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    sys.stdout.write(f"\n{title}\n")
    for line in cells:
        sys.stdout.write(
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + "\n"
        )


def _cell(value: object) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else "" if value is None else str(value)
