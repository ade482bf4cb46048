"""What a deployment says of itself: which version it is, and that it is another than the last."""

import subprocess
import time

from devstack.config import ROOT

UNKNOWN = "unknown"


def stamps() -> dict[str, str]:
    """Parameters of one deployment; a stack takes those that its template declares."""
    return {"Version": version(), "DeploymentId": f"{int(time.time()):x}"}


def version() -> str:
    """The last release's tag, the commits since and the commit; without git, that it is not known."""
    try:
        described = subprocess.run(
            ["git", "describe", "--tags", "--always", "--dirty"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return described.stdout.strip()
