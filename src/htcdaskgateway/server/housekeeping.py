"""What the gateway does every now and then: sandboxes, left-over schedulers, its hold on the database."""

from __future__ import annotations

import asyncio
import signal

from dask_gateway_server.backends.db_base import JobStatus
from sqlalchemy.exc import SQLAlchemyError

from htcdaskgateway.errors import ConfigurationError, HTCDaskError
from htcdaskgateway.launchers.base import Launcher
from htcdaskgateway.server.database import Claim
from htcdaskgateway.server.keepers import Keepers
from htcdaskgateway.server.settings import HTCondorSettings
from htcdaskgateway.server.store import WorkerStore

CLAIM_PERIOD = 10.0  # seconds between two looks whether the database is still ours alone


async def clean_sandboxes(site: HTCondorSettings, store: WorkerStore, keepers: Keepers) -> None:
    """Remove the sandboxes of clusters when the database forgets them, and no others."""
    known = set(store.db.name_to_cluster)
    while True:
        await asyncio.sleep(site.db_cleanup_period)
        for name in known - set(store.db.name_to_cluster):
            site.sandbox(name).remove()
            store.forget(name)
            await keepers.forget(name)
        known = set(store.db.name_to_cluster)


async def sweep_schedulers(site: HTCondorSettings, store: WorkerStore, launcher: Launcher) -> None:
    """Remove what is left of schedulers whose clusters have ended, also of an earlier gateway process."""

    def is_live(name: str) -> bool:
        cluster = store.db.get_cluster(name)
        return cluster is not None and cluster.status < JobStatus.STOPPED

    while True:
        try:
            await launcher.sweep(is_live)
        except HTCDaskError as error:
            site.log.warning("What schedulers have left is removed later. %s", error)
        except (ValueError, LookupError, TypeError) as error:  # no answer of whom it asks
            site.log.warning("What schedulers have left is removed later: %r", error, exc_info=True)
        await asyncio.sleep(site.db_cleanup_period)


async def keep_claim(site: HTCondorSettings, claim: Claim) -> None:
    """End this gateway where another one has its database: both would decide."""
    while True:
        await asyncio.sleep(CLAIM_PERIOD)
        try:
            await asyncio.to_thread(claim.check)
        except SQLAlchemyError as error:
            site.log.warning("The database cannot be asked: %s", error)
        except ConfigurationError as error:
            site.log.critical("%s This gateway ends.", error)
            site.stop_clusters_on_shutdown = False  # they are the other one's
            signal.raise_signal(signal.SIGTERM)
            return
