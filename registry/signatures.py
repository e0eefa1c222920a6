"""Signatures of adapter folders as OpenSSF Model Signing writes them: `model.sig` beside the files that it covers, the manifest among them.

Whoever can write the registry and the folders could publish an adapter of their own; without the private key they cannot sign it. The library is an
extra (`pip install 'lorefeed[signing]'`), imported where it is used; keys are PEM files of an elliptic curve, from `openssl ecparam -genkey`.
"""

import os
import secrets
from pathlib import Path
from typing import Any

from registry.errors import NotSigned

SIGNATURE = "model.sig"


def sign_folder(folder: Path, private_key: Path) -> None:
    """Writes the folder's signature, in the place of an earlier one in one step. Raises NotSigned; then nothing has changed."""
    library = _library()
    partial = folder.parent / f".{SIGNATURE}-{os.getpid()}-{secrets.token_hex(8)}"
    try:
        config = library.signing.Config().use_elliptic_key_signer(private_key=private_key).set_hashing_config(_covered(library, folder))
        config.sign(folder, partial)
        partial.replace(folder / SIGNATURE)
    except (OSError, ValueError) as err:
        raise NotSigned(f"{folder} was not signed with {private_key}: {_reason(err)}") from err
    finally:
        partial.unlink(missing_ok=True)


def signature_problem(folder: Path, public_key: Path) -> str | None:
    """Why the folder is not what the owner of the key signed; None if it is. What cannot be looked at counts as a problem."""
    if not (folder / SIGNATURE).is_file():
        return f"it has no signature ({SIGNATURE}), and signing.public_key asks for one"
    try:
        library = _library()
        library.verifying.Config().use_elliptic_key_verifier(public_key=public_key).set_hashing_config(_covered(library, folder)).verify(
            folder, folder / SIGNATURE
        )
    except NotSigned as err:
        return f"its signature cannot be checked: {err}"
    except (OSError, ValueError, KeyError, TypeError) as err:  # a file that is no signature, or no key
        return f"its signature does not hold for {public_key}: {_reason(err)}"
    return None


def _covered(library: Any, folder: Path) -> Any:
    return library.hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE], ignore_git_paths=False)


def _library() -> Any:
    try:
        import model_signing
    except ImportError as err:
        raise NotSigned(f"model-signing cannot be imported ({err})", hint="Install it: pip install 'lorefeed[signing]'") from err
    return model_signing


def _reason(err: Exception) -> str:
    return str(err).strip().partition("\n")[0][:300] or type(err).__name__
