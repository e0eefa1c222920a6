"""Where a base model lies, and its digest. Imports no torch, so that any process may ask."""

import hashlib
from pathlib import Path

from daemon.learn.errors import ModelNotFound

EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).parents[1] / "embedded" / "model"
_FILES = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]
_WEIGHTS = ("*.safetensors", "*.bin", "config.json", "tokenizer.json", "tokenizer.model")


def folder_of(name: str, revision: str | None = None, *, download: bool = True) -> Path:
    """The local folder of a model: the embedded one, a given folder, or the snapshot of a hub id, downloaded if need be and allowed."""
    if name == EMBEDDED:
        return EMBEDDED_FOLDER
    if Path(name).is_dir():
        return Path(name).resolve()
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_FILES, local_files_only=not download))
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as err:
        raise ModelNotFound(
            f"The model {name!r} (revision {revision or 'default'}) is no folder here and was not found as a download: {err}"
        ) from err


def digest_of(folder: Path) -> str:
    """sha-256 over the names and bytes of weights, configuration and tokenizer: two bases are the same when this is."""
    files = sorted({f for pattern in _WEIGHTS for f in folder.glob(pattern)})
    if not any(f.suffix in {".safetensors", ".bin"} for f in files):
        raise ModelNotFound(f"The folder {folder} holds no model weights (*.safetensors).")
    total = hashlib.sha256()
    for file in files:
        total.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
