"""The learning worker: a process of its own that holds torch, the base model and, while it runs, the device.

Reads one JSON request a line from standard input and writes JSON lines to standard output: any number of `{"progress": ..., "text": ...}`, then
`{"result": ...}` or `{"error": {...}}`. Ends when its input ends. Knows folders and tensors; the registry belongs to whoever asks.
"""

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

import torch

from daemon.learn.errors import LearnError
from daemon.learn.models import load_base
from daemon.learn.operations import Json, Operations


def serve(operations: Operations, requests: TextIO, answers: TextIO) -> None:
    def send(message: Json) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    def progress(fraction: float, text: str) -> None:
        send({"progress": round(fraction, 4), "text": text})

    for line in requests:
        request = json.loads(line)
        try:
            send({"result": getattr(operations, _allowed(request["op"]))(request, progress)})
        except LearnError as err:
            send({"error": {"kind": type(err).__name__, "message": str(err), "hint": err.hint}})
        except (MemoryError, RuntimeError, OSError) as err:
            send(
                {
                    "error": {
                        "kind": type(err).__name__,
                        "message": f"{type(err).__name__}: {err}",
                        "hint": "See the daemon's log for the job.",
                    }
                }
            )


_REQUESTS = frozenset({"hello", "novelty", "calibrate", "choose", "elicit", "hold_out", "learn", "draw_back", "merge", "check", "ask"})


def _allowed(op: str) -> str:
    if op not in _REQUESTS:
        raise LearnError(f"The learning worker knows no request {op!r}.", hint=f"One of: {', '.join(sorted(_REQUESTS))}.")
    return op


def _die_with(parent: int) -> None:
    """Whoever asked is gone when we have another parent: what it wanted would be written into a folder that its successor sweeps."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _keep_to(threads: int | None, gpu_memory_share: float | None) -> None:
    """The budget of this process. Beyond the memory's share torch says that there is no more, which is an answer like any other."""
    if threads is not None:
        torch.set_num_threads(threads)
    if gpu_memory_share is not None and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpu_memory_share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--revision")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--parent", type=int, help="process id of whoever asks; the worker ends with it")
    parser.add_argument("--threads", type=int, help="cores that it may use; as many as torch takes when missing")
    parser.add_argument("--gpu-memory-share", type=float, help="share of the GPU's memory that it may take; any when missing")
    args = parser.parse_args()
    if args.parent is not None:
        _die_with(args.parent)
    _keep_to(args.threads, args.gpu_memory_share)
    # libraries print where they like; only answers may go to the pipe
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        base = load_base(args.model, revision=args.revision)
    except LearnError as err:
        answers.write(json.dumps({"error": {"kind": type(err).__name__, "message": str(err), "hint": err.hint}}) + "\n")
        answers.flush()
        raise SystemExit(1) from err
    serve(Operations(base, args.cache), sys.stdin, answers)


if __name__ == "__main__":
    main()
