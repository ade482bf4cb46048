"""The demo model as the stack starts it: a process of its own."""

import re
import signal
import subprocess
import sys

import httpx


def test_the_process_serves_and_ends_when_told() -> None:
    command = [sys.executable, "-m", "devstack.demo_model", "--port", "0", "--word-delay-ms", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found is not None
            assert httpx.get(f"{found[0]}/health").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) == 0
        finally:
            process.kill()
