"""The HTCondor backend of dask-gateway: where it does otherwise than other backends, wired together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.fernet import InvalidToken
from dask_gateway_server import models
from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.backends.db_base import Cluster, JobStatus, Worker
from sqlalchemy.exc import SQLAlchemyError

from htcdaskgateway.errors import ConfigurationError, HTCDaskError, InvalidRequestError
from htcdaskgateway.sandbox import private_directory
from htcdaskgateway.server import database, housekeeping
from htcdaskgateway.server.dashboard_routes import routes as dashboard_routes
from htcdaskgateway.server.heartbeats import Heartbeats
from htcdaskgateway.server.image_options import ImageRequests
from htcdaskgateway.server.keepers import Keepers
from htcdaskgateway.server.liveness import Liveness
from htcdaskgateway.server.reasons import in_one_line
from htcdaskgateway.server.routes import routes
from htcdaskgateway.server.scaling import Scaling, check_message
from htcdaskgateway.server.scheduler import at_ports, scheduler_spec
from htcdaskgateway.server.session_routes import routes as session_routes
from htcdaskgateway.server.sessions import Sessions
from htcdaskgateway.server.settings import HTCondorSettings
from htcdaskgateway.server.slot_routes import SlotMatches
from htcdaskgateway.server.slot_routes import routes as slot_routes
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.worker_options import WorkerRequests
from htcdaskgateway.server.workers import jobs

CLEAR_TIMEOUT = 30.0  # seconds that the end of the gateway may wait for the queue, where clusters end with it
LAST_LOOK = 30.0  # seconds that a cluster's end waits for HTCondor, or for its owner's session


class HTCondorBackend(ImageRequests, WorkerRequests, HTCondorSettings):
    """Schedulers by a launcher, workers as HTCondor jobs that the gateway submits.

    dask-gateway's own reconciler starts and ends clusters. Workers are not reconciled one by one: the
    keeper does it for all clusters together (see `htcdaskgateway.server.keeper`).
    """

    supports_bulk_shutdown = True

    async def setup(self, app: web.Application) -> None:
        self.launcher = self.launcher_class(parent=self, log=self.log)
        self.launcher.check_configuration()
        self.check_images()
        if self.submitter == "gateway":
            self.condor_access.check()
        for name in ("state_directory", "sandbox_directory"):
            private_directory(Path(getattr(self, name)), f"c.HTCondorBackend.{name}")
        app.add_routes(routes)
        app.add_routes(session_routes)
        app.add_routes(slot_routes)
        app.add_routes(dashboard_routes)
        self.slot_matches = SlotMatches(self)
        app.on_shutdown.append(self._answer_who_waits)
        try:
            database.protect(self.db_url)
            self._claim = database.Claim(self.db_url, Path(self.state_directory))
        except (SQLAlchemyError, OSError) as error:
            raise ConfigurationError(
                "The database c.HTCondorBackend.db_url cannot be used.", {"it says": str(error)}
            ) from error
        try:
            await super().setup(app)
        except InvalidToken as error:
            raise ConfigurationError(
                "The database was encrypted with another key than this gateway has.",
                {"keys": f"{self.state_directory}/keys, or DASK_GATEWAY_ENCRYPT_KEYS"},
                "Give the gateway the key that it had; new keys go in front of it, one a line.",
            ) from error

    async def _answer_who_waits(self, _: web.Application) -> None:
        """Or their requests would hold up the end of the gateway."""
        for watch in self.store.watches():
            watch.touch()
        self.sessions.dismiss()

    async def do_setup(self) -> None:
        self.store = WorkerStore(self.db, self.worker_start_failure_limit)
        gateway = self.instance or database.instance_id(self.db.db)
        self.sessions = Sessions(self.session_lease, self.session_timeout)
        self.keepers = Keepers(self, gateway, self.store, self.sessions, self.log)
        self.scaling = Scaling(self.store, self.keepers, self.log)
        self.liveness = Liveness(self, self.launcher, self.store)
        self.heartbeats = Heartbeats(self, self.launcher, self.store, self.keepers)
        self.default_host = self.launcher.host
        self.launcher.check_ways(self.worker_contact, self.api_url)
        # What the site adds to every job is tried now, and not when the first user asks for workers.
        jobs(self, gateway, "cluster", "user", self.cluster_config_class(parent=self), ["worker"])
        self.log.info("The jobs of this gateway carry HTCDaskGateway = %r", gateway)
        await self.launcher.open(gateway)
        self.keepers.start()
        for work in (
            housekeeping.clean_sandboxes(self, self.store, self.keepers),
            housekeeping.sweep_schedulers(self, self.store, self.launcher),
            housekeeping.keep_claim(self, self._claim),
        ):
            self.task_pool.spawn(work)

    async def cleanup(self) -> None:
        if hasattr(self, "session"):  # else setup() was refused, and there is nothing to end
            await super().cleanup()

    async def do_cleanup(self) -> None:
        if not hasattr(self, "keepers"):
            return
        self.keepers.stop()
        if self.stop_clusters_on_shutdown and self.submitter == "gateway":  # sessions hear of it no more
            await self.keepers.clear(CLEAR_TIMEOUT)
        await self.keepers.close()
        await self.launcher.close()
        self._claim.close()

    # -- requests of users -------------------------------------------------------------------------

    async def start_cluster(self, user: models.User, cluster_options: Mapping[str, Any]) -> str:
        try:
            self.launcher.admit(user.name)
        except InvalidRequestError as error:
            raise PublicException(in_one_line(error)) from error
        return str(await super().start_cluster(user, cluster_options))

    async def forward_message_to_scheduler(self, cluster: models.Cluster, msg: dict[str, Any]) -> None:
        check_message(msg)
        tell = partial(super().forward_message_to_scheduler, cluster)
        await self.scaling.request(self.db.get_cluster(cluster.name), msg, tell)

    def problem(self, cluster: Cluster) -> str:
        """Why the cluster is not as it should be, in one sentence; empty if it is."""
        if reason := cluster.state.get("reason"):
            return str(reason)
        waiting = any(not w.state.get("job_id") for w in self.store.wanted(cluster))
        return self.store.watch(cluster).problem or (self.keepers.trouble(cluster) if waiting else "")

    # -- sessions ----------------------------------------------------------------------------------

    def session_came(self, cluster: Cluster) -> None:
        """A session of the cluster's owner has the lease now."""
        self.log.info("Cluster %s: a session of %s is attached", cluster.name, cluster.username)
        self.keepers.kick(cluster)
        self.store.watch(cluster).touch()

    def needs_no_session(self, cluster: Cluster) -> bool:
        """Whether the cluster has ended, and no job of it is left."""
        return bool(cluster.status >= JobStatus.STOPPED and self.keepers.of(cluster).clean)

    # -- schedulers --------------------------------------------------------------------------------

    def get_scheduler_command(self, cluster: Cluster) -> list[str]:
        command = super().get_scheduler_command(cluster)
        return at_ports(command, self.launcher.ports, self.default_host)

    async def do_start_cluster(self, cluster: Cluster) -> AsyncIterator[dict[str, Any]]:
        if cluster.state:  # an earlier gateway process ended while it started this one
            await self.launcher.stop(cluster.username, cluster.state)
        place = self.launcher.place(cluster.name)
        yield place
        spec = scheduler_spec(self, cluster)
        try:
            way = await self.keepers.choose(cluster)
            state = await self.launcher.start(spec)
        except HTCDaskError as error:
            yield {**place, "reason": in_one_line(error)}
            raise
        yield {**state, **way}

    async def do_stop_cluster(self, cluster: Cluster) -> None:
        sandbox = self.sandbox(cluster.name)
        try:
            # Idle jobs go before the scheduler does, or they would start now.
            await asyncio.wait_for(self.keepers.of(cluster).look_now(), LAST_LOOK)
        except asyncio.TimeoutError:
            self.log.warning("Cluster %s: its jobs are removed later.", cluster.name)
        except HTCDaskError as error:
            self.log.warning("Cluster %s: its jobs are removed later. %s", cluster.name, error)
        try:
            sandbox.write("scheduler.log", await self.launcher.stop(cluster.username, cluster.state))
        finally:
            sandbox.remove_secrets()
            self.store.watch(cluster).touch()
            self.keepers.kick(cluster)

    async def check_clusters_loop(self) -> None:
        await self.liveness.watch_processes()

    async def _check_timeouts(self) -> None:
        """Of clusters only: how long a worker may take is the keeper's business, and queue time is none."""
        await self.liveness.check_heartbeats()

    async def on_cluster_heartbeat(self, cluster_name: str, msg: Mapping[str, Any]) -> None:
        cluster = self.db.get_cluster(cluster_name)
        if cluster is not None and cluster.target <= JobStatus.RUNNING:
            self.heartbeats.hear(cluster, msg)

    # -- workers -----------------------------------------------------------------------------------

    async def reconcile_worker(self, worker: Worker) -> None:
        """Leave single workers alone: the keeper does them all together."""

    async def check_workers_loop(self) -> None:
        """End at once: the keeper looks at the queue."""

    async def _check_cluster_scale(self, cluster: Cluster) -> None:
        if self.store.match_count(cluster):
            self.keepers.kick(cluster)

    async def _cluster_to_closing(self, cluster: Cluster) -> None:
        """All workers in one transaction, instead of one each."""
        closing = {"status": JobStatus.CLOSING, "target": JobStatus.CLOSING}
        live = [w for w in cluster.workers.values() if w.status < JobStatus.STOPPED]
        self.db.update_workers([(worker, closing) for worker in live])
        self.db.update_cluster(cluster, status=JobStatus.CLOSING)
        cluster.ready.set()
        self.queue.put(cluster)

    def is_cluster_ready_to_close(self, cluster: Cluster) -> bool:
        """Whatever became of its workers meanwhile, such as a submit that was answered late: no other end."""
        return bool(cluster.status == JobStatus.CLOSING)
