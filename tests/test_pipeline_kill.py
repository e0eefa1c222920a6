"""The whole pipeline, learning included, killed at random moments and started again: nothing is lost, made twice, or left half done."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daemon.config import CONFIG_FILE
from daemon.sample.server import NEWS, SampleServer, batches
from registry import Registry

KILLS = int(os.environ.get("LOREFEED_KILLS", "4"))
ITEMS = (*batches()["first"], *batches()["second"])
# little learning, so that a kill may fall into any stage
LEARNING = "samples = 2\n[learn]\nsteps_min = 6\nsteps_max = 6\nreplay_batch = 2\n[check]\nlearned_min = 0.0\nkept_min = 0.0\n"


def start(home: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "daemon.cli", "--home", str(home), "run", "--once"]
    with (home / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_at_random_moments_lose_nothing_and_make_nothing_twice(tmp_path: Path) -> None:
    rng = random.Random(4)
    home = tmp_path / "home"
    home.mkdir()
    (home / CONFIG_FILE).write_text(f'[sources]\nallow_private = ["127.0.0.0/8"]\n[elicit]\n{LEARNING}')
    with SampleServer() as server, Registry.open(home) as registry:
        registry.write.add_feed(server.url(NEWS), name="sample", kind="feed", topic="news", trust="auto", interval_s=1)
        published = 0
        for kill in range(KILLS):
            wanted = -(-(kill + 1) * len(ITEMS) // KILLS)
            server.publish(NEWS, ITEMS[published:wanted])
            published = wanted
            process = start(home)
            time.sleep(rng.uniform(0.5, 14.0))
            process.send_signal(signal.SIGKILL)
            process.wait()
            for alias in registry.read.aliases():
                if alias.adapter is not None:
                    registry.artifacts.verify(registry.read.adapter(alias.adapter))
        time.sleep(1.1)  # the feed is due again, and the workers of killed runs have ended with them
        last = start(home)
        assert last.wait(timeout=600) == 0, (home / "log").read_text()[-3000:]
        documents = registry.read.documents()
        assert sorted(str(d.title) for d in documents) == sorted(item.name for item in ITEMS)
        definitions = registry.read.definitions(topic="news")
        assert sorted(d.entity for d in definitions) == sorted(item.name for item in ITEMS)
        assert {str(d.state) for d in definitions} <= {"learned", "known", "refused", "held"}
        versions = [a.version for a in registry.read.adapters("news")]
        assert len(versions) == len(set(versions))
        assert not [a for a in registry.read.adapters("news") if a.state in {"learning", "checking"}]
        taught = [i for a in registry.read.adapters("news") if a.state in {"live", "retired"} for i in a.definitions]
        assert len(taught) == len(set(taught)), "A definition was learnt as new by two released versions."
        findings = registry.doctor()
        assert findings == [], findings
