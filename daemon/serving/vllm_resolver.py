"""Lets vLLM find what is served by itself, as after a restart: asked for `news@7`, it looks that up in the registry and loads it.

A plugin (entry point `vllm.general_plugins`) that runs in vLLM's own environment, where Lorefeed is installed without what it needs: nothing but
the standard library, numpy and vLLM may be imported here. Only versions that an alias serves are found, and only whole and fitting ones; all
others are a 404, after which the gateway has them loaded and proven. What a stranger calls a model is compared with rows, never joined to a path.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from daemon.serving.names import is_adapter_name
from daemon.serving.preload import preload_problem
from daemon.serving.started import read_start

log = logging.getLogger(__name__)
REGISTRY = "registry.sqlite3"
BUSY_TIMEOUT_S = 1.0
_SERVED = """
    SELECT adapter.digest, adapter.base_digest FROM adapter JOIN alias ON alias.adapter_id = adapter.id
    WHERE adapter.topic = ? AND adapter.version = ? AND adapter.digest IS NOT NULL AND adapter.removed_at IS NULL AND adapter.unserved IS NULL
"""


def find_served(home: Path, name: str) -> Path | None:
    """The folder, verified, of a version that an alias serves; None, with the reason in the log, if there is none or it must not be served."""
    if not is_adapter_name(name):
        return None
    topic, _, version = name.rpartition("@")
    try:
        with closing(sqlite3.connect(f"{(home / REGISTRY).as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S)) as rows:
            rows.execute("PRAGMA query_only = ON")  # not mode=ro, which cannot open a WAL file that nobody else has open
            row = rows.execute(_SERVED, (topic, int(version))).fetchone()
    except sqlite3.Error as err:
        log.warning("Lorefeed's registry in %s cannot be read, so %s is not loaded from there: %s", home, name, err)
        return None
    if row is None:
        return None
    digest, base_digest = row
    path = (home / "artifacts" / topic / f"{version}-{digest[:12]}").resolve()
    started = read_start(home)
    if started is not None and started.signed:
        problem: str | None = "its signature has to be checked first, which the daemon does"
    elif started is not None and started.base_digest != base_digest:
        problem = f"it was made for base {base_digest[:12]}, this engine serves base {started.base_digest[:12]}"
    else:
        max_rank, base_folder = (None, None) if started is None else (started.max_rank, Path(started.folder))
        problem = damage(path, digest) or preload_problem(path, max_rank=max_rank, base_folder=base_folder)
    if problem is not None:
        log.warning("Lorefeed's %s is not loaded: %s", name, problem)
        return None
    return path


def damage(folder: Path, digest: str) -> str | None:
    """Why the folder is not what was published under the digest: its manifest's, which names every file with size and sha-256."""
    try:
        content = (folder / "manifest.json").read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            return f"{folder / 'manifest.json'} was altered"
        for name, facts in json.loads(content)["files"].items():
            file = folder / name
            if file.is_symlink() or file.stat().st_size != facts["size"]:
                return f"{file} was altered"
            with file.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != facts["sha256"]:
                    return f"{file} was altered"
    except (OSError, ValueError, KeyError, TypeError) as err:
        return f"{folder} cannot be read: {err}"
    return None


def register() -> None:
    """Called by vLLM when it starts. Without a home it changes nothing."""
    given = os.environ.get("LOREFEED_HOME")
    if not given:
        return
    home = Path(given)
    from vllm.lora.request import LoRARequest
    from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry

    class FromRegistry(LoRAResolver):  # type: ignore[misc]
        async def resolve_lora(self, base_model_name: str, lora_name: str) -> Any:
            """What vLLM shall load for the name; None if the registry does not serve it."""
            path = await asyncio.to_thread(find_served, home, lora_name)
            # vLLM gives the number itself, a new one for each load.
            return None if path is None else LoRARequest(lora_name=lora_name, lora_int_id=1, lora_path=str(path))

    LoRAResolverRegistry.register_resolver("lorefeed", FromRegistry())
