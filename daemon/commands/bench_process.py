"""The other end of a bench process: starts it, shows its progress, takes its answer. Imports no torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from daemon.errors import DaemonError
from daemon.output import progress_bar


class BenchFailed(DaemonError):
    """A bench ended without an answer."""

    hint = "Its own words stand above; run it again and it goes on where it was"


def answer_of(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to one request."""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    with (
        progress_bar(f"bench {request['kind']}") as progress,
        subprocess.Popen(
            [sys.executable, "-m", "daemon.benches"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.close()
        found: dict[str, Any] | None = None
        try:
            for line in process.stdout:
                message = json.loads(line)
                if "progress" in message:
                    progress(float(message["progress"]), str(message["text"]))
                elif "error" in message:
                    raise BenchFailed(message["error"]["message"], hint=message["error"]["hint"])
                else:
                    found = message["result"]
        finally:
            if found is None:
                process.kill()
    if found is None:
        raise BenchFailed(f"The bench ended with status {process.returncode}.")
    return found
