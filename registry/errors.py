"""What can go wrong in the registry, said so that a person knows what to do next. Leaves printing and retrying to the callers."""


class RegistryError(Exception):
    """The registry could not do what was asked."""

    hint: str = "Run: lorefeed doctor"

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        super().__init__(message or type(self).__doc__ or "")
        if hint is not None:
            self.hint = hint


class NotThere(RegistryError):
    """There is nothing of that name or number in the registry."""

    hint = "List what there is: lorefeed status"


class AlreadyThere(RegistryError):
    """Something of that name exists already."""

    hint = "Choose another name"


class BadName(RegistryError):
    """A name has characters that do not work in addresses and folders."""

    hint = "Use letters, digits, dots, dashes and underscores, beginning with a letter or digit; 'base' is taken by the base model"


class BadValue(RegistryError):
    """A value is outside what its column means."""

    hint = "Give one of the values named in the message"


class NotAllowed(RegistryError):
    """The state does not allow this move."""

    hint = "Show the present state: lorefeed status"


class NotPromotable(RegistryError):
    """The adapter has no passing check run."""

    hint = "Run: lorefeed check ADAPTER"


class NothingToRollBack(RegistryError):
    """The alias serves the base model, so there is nothing to go back from."""

    hint = "List what was served: lorefeed releases ALIAS"


class NotSigned(RegistryError):
    """The adapter's folder could not be signed."""

    hint = "Look at signing.private_key: lorefeed config; the key is a PEM file of an elliptic curve (openssl ecparam -genkey)"


class LeaseLost(RegistryError):
    """The job is no longer held by this owner."""

    hint = "Another worker has it or it has ended; drop the work, its result is not wanted"


class ArtifactNotWritten(RegistryError):
    """The adapter's folder could not be written."""

    hint = "Free some space, or move the home directory to a larger disk, then learn again"


class ArtifactDamaged(RegistryError):
    """The adapter's folder is not what was published."""

    hint = "Restore the folder from a backup, or roll back: lorefeed rollback ALIAS"


class RegistryTooNew(RegistryError):
    """The registry was written by a newer Lorefeed."""

    hint = "Upgrade lorefeed, or restore a backup made by this version"


class RegistryDamaged(RegistryError):
    """The registry file is not a whole SQLite database."""

    hint = "Restore a backup: lorefeed restore FILE"


class RegistryBusy(RegistryError):
    """Another process kept the registry locked for too long."""

    hint = "Try again; if it stays locked, look for a stuck lorefeed process"


class RegistryNotWritten(RegistryError):
    """The registry could not be written; nothing was changed."""

    hint = "Look at the disk's free space and at who owns the home directory, then try again"


class AlreadyRunning(RegistryError):
    """Another daemon works on this home directory."""

    hint = "Stop it first, or give this one a home of its own: --home DIR"
