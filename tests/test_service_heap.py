"""How memory is kept: by commands, which end before their garbage matters, and by services, which live for months."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
THREADS = """
import json, sys, threading
from daemon.heap import share_one_heap
if sys.argv[1] == "shared":
    share_one_heap()
def work():
    held = [bytes(2000) for _ in range(5000)]  # 10 MB in blocks that no thread gives back to another
    there.wait()
    done.wait()
there, done = threading.Barrier(9), threading.Event()
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
there.wait()
heaps = {line.split()[0].partition("-")[0] for line in open("/proc/self/maps") if len(line.split()) == 5}
print(json.dumps(sum(int(start, 16) % 2**26 == 0 for start in heaps)))
done.set()
"""
LOOK = """
import gc, json
from daemon import cli
cli.app = lambda **_: print(json.dumps(gc.get_threshold()))
cli.main([])
"""


def told(program: str, *arguments: str) -> object:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=ROOT, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="the C library is not glibc")
def test_threads_share_one_heap() -> None:
    """glibc begins each thread's heap at a multiple of 64 MB."""
    assert told(THREADS, "shared") == 0
    assert int(str(told(THREADS, "apart"))) > 1


def test_a_command_looks_for_garbage_seldom() -> None:
    assert told(LOOK) == [100_000, 20, 20]
