"""Every write, one transaction a method. Each noun has its file: feeds, definitions, adapters, releases, jobs."""

from registry.store_adapters import AdapterStore
from registry.store_definitions import DefinitionStore
from registry.store_edit import EditStore
from registry.store_feeds import FeedStore
from registry.store_forget import ForgetStore
from registry.store_import import ImportStore
from registry.store_jobs import JobStore
from registry.store_keys import KeyStore
from registry.store_releases import ReleaseStore


class Store(FeedStore, DefinitionStore, EditStore, AdapterStore, ReleaseStore, ForgetStore, ImportStore, JobStore, KeyStore):
    """The registry's only writer."""
