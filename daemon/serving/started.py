"""What the engine of this home was started with, for whoever loads adapters into it: vLLM tells nobody its flags.

`lorefeed engine` writes it when it starts, whichever engine it starts; reconcile and the gateway read it before each load.
"""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

log = logging.getLogger(__name__)
FILE_NAME = "engine.json"


@dataclass(frozen=True, slots=True)
class Started:
    """`model` and `revision` as in the configuration; `folder` holds the weights; `max_rank` is None where any rank can be served."""

    kind: str
    model: str
    revision: str | None
    folder: str
    base_digest: str
    max_rank: int | None = None
    signed: bool = False  # only signed versions are to be loaded
    sleep_level: int | None = None  # how deep it can be put to sleep while something is learnt; None: not at all


def record_start(home: Path, started: Started) -> None:
    """Puts it in the place of the one before, in one step: somebody may be reading. Raises OSError.

    What stands there already is not written again, so that an engine starts on a full disk too.
    """
    if read_start(home) == started:
        return
    temporary = home / f".{FILE_NAME}-{secrets.token_hex(8)}"
    temporary.write_text(json.dumps(asdict(started), indent=1) + "\n", encoding="utf-8")
    temporary.replace(home / FILE_NAME)


def last_start(home: Path, *, model: str, revision: str | None) -> Started | None:
    """The last start of an engine with this base model; None if there is none, or if it was another model's and so says nothing of today's."""
    started = read_start(home)
    return started if started is not None and (started.model, started.revision) == (model, revision) else None


def read_start(home: Path) -> Started | None:
    """The last start of any engine of this home."""
    file = home / FILE_NAME
    try:
        return Started(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as err:
        log.warning("%s cannot be read, so adapters are not compared with the engine before they are loaded: %s", file, err)
        return None
