"""The signals that end a service, however many come at once and whatever the main thread is about."""

import subprocess
import sys

from tests.service_parts import ROOT

# A killed parent alone can bring several: one for each of its threads. The sender is a process of its own, so that they come at any moment.
PROGRAM = """
import os, signal, threading
from daemon.signals import end_signals
over = threading.Event()
with end_signals(over):
    parent, child = os.getpid(), os.fork()
    if child == 0:
        for _ in range(20_000):
            os.kill(parent, signal.SIGTERM)
        os._exit(0)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        over.wait(0.001)
assert over.is_set()
print("ended")
"""


def test_signals_that_come_together_end_a_service():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout == "ended\n", done.stderr
