"""`poe bench packages`: how large what is deployed is, and what importing it costs at a cold start.

Import is CPU time of a fresh interpreter that has the package, the layer and the runtime's SDK on its
path and nothing else, all as hash-checked bytecode, against `import boto3` and one client likewise;
each handler's runs alternate with the baseline's.
"""

import compileall
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from py_compile import PycInvalidationMode
from statistics import median

from tests.bench import report
from tests.packaging import (
    LAYER_BUDGET,
    MEGABYTE,
    MEMBERS,
    build,
    runtime_sources,
    size_budget,
    zipped_size,
)

RUNS = 7
MEASURE = "import sys, time; sys.path[:0] = sys.argv[1:]; {}; print(time.process_time())"
NOTHING = MEASURE.format("pass")
BASELINE = MEASURE.format("import boto3; boto3.client('dynamodb', region_name='us-east-1')")

IMPORT_BUDGETS = {"rest_api": 2.2, "workers_agent": 5.0, "workers_tools": 5.0}
IMPORT_BUDGET = 1.8


def main() -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        layer = build("libs/commons", Path(scratch, "layer"))
        packages = {
            member: build(f"functions/{member}", Path(scratch, member)) for member in MEMBERS
        }
        runtime = _runtime(Path(scratch, "runtime"))
        rows = [_row("layer", zipped_size(layer), LAYER_BUDGET, None, None)]
        for member, package in packages.items():
            rows.append(
                _row(
                    member,
                    zipped_size(package),
                    size_budget(member),
                    _import_ratio(member, package, layer / "python", runtime),
                    IMPORT_BUDGETS.get(member, IMPORT_BUDGET),
                )
            )
    report.save("packages", rows)
    report.table("Packages and cold imports", rows)
    return all(row["met"] == "yes" for row in rows)


def _runtime(directory: Path) -> Path:
    directory.mkdir()
    for source in runtime_sources():
        if source.is_dir():
            shutil.copytree(source, directory / source.name)
        else:
            shutil.copy(source, directory)
    compileall.compile_dir(directory, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    return directory


def _import_ratio(member: str, *paths: Path) -> float:
    handler = MEASURE.format(f"import {member}.handler")
    ratios = []
    for _run in range(RUNS):
        start = _cpu_seconds(NOTHING, paths)
        baseline = _cpu_seconds(BASELINE, paths) - start
        ratios.append((_cpu_seconds(handler, paths) - start) / baseline)
    return median(ratios)


def _cpu_seconds(program: str, paths: tuple[Path, ...]) -> float:
    environment = {
        "PATH": os.defpath,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    measured = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program, *map(str, paths)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(measured.stdout)


def _row(
    name: str, size: int, size_limit: int, ratio: float | None, ratio_limit: float | None
) -> dict[str, object]:
    within = size <= size_limit and (ratio is None or ratio_limit is None or ratio <= ratio_limit)
    return {
        "package": name,
        "zipped MB": f"{size / MEGABYTE:,.3f}",
        "at most MB": f"{size_limit / MEGABYTE:,.1f}",
        "import x": None if ratio is None else f"{ratio:.2f}",
        "at most x": ratio_limit,
        "met": "yes" if within else "NO",
    }


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
