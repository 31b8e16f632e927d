"""The HTCondor backend of dask-gateway: where it does otherwise than other backends, wired together."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.fernet import InvalidToken
from dask_gateway_server import models
from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.backends.db_base import Cluster, JobStatus, Worker
from dask_gateway_server.utils import timestamp
from sqlalchemy.exc import SQLAlchemyError

from htcdaskgateway.errors import (
    ConfigurationError,
    HTCDaskError,
    InvalidRequestError,
    ScheddSilentError,
)
from htcdaskgateway.launchers.base import SchedulerSpec
from htcdaskgateway.sandbox import private_directory
from htcdaskgateway.server import database
from htcdaskgateway.server.heartbeat import Heartbeat
from htcdaskgateway.server.image_options import ImageRequests
from htcdaskgateway.server.keeper import in_one_line
from htcdaskgateway.server.keepers import Keepers
from htcdaskgateway.server.orders import Orders
from htcdaskgateway.server.routes import routes
from htcdaskgateway.server.session_routes import routes as session_routes
from htcdaskgateway.server.settings import HTCondorSettings
from htcdaskgateway.server.slot_routes import SlotMatches
from htcdaskgateway.server.slot_routes import routes as slot_routes
from htcdaskgateway.server.store import WorkerStore
from htcdaskgateway.server.worker_options import WorkerRequests
from htcdaskgateway.server.workers import jobs

CLAIM_PERIOD = 10.0  # seconds between two looks whether the database is still ours alone
SCHEDULER_WAIT = 10.0  # seconds that a scheduler may take to answer
HEARTBEAT_WAIT = 5.0  # seconds; a scheduler sends one at once when its count changes
CLEAR_TIMEOUT = 30.0  # seconds that the end of the gateway may wait for the queue, where clusters end with it
LAST_LOOK = 30.0  # seconds that a cluster's end waits for HTCondor, or for its owner's session
TOKEN_FILE = "./dask-gateway-token"  # noqa: S105 - with a slash, dask-gateway takes it for a path


def check_message(msg: Mapping[str, Any]) -> None:
    """Refuse what the scheduler could not make sense of: in JSON, and in Python, true is a number."""
    for name in ("count", "minimum", "maximum"):
        value = msg.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise PublicException(f"{name} must be a whole number of workers, not {value!r}.")


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
        self.keepers.dismiss_sessions()

    async def do_setup(self) -> None:
        self.store = WorkerStore(self.db, self.worker_start_failure_limit)
        gateway = self.instance or database.instance_id(self.db.db)
        self.keepers = Keepers(self, gateway, self.store, self.log)
        self.default_host = self.launcher.host
        self.launcher.check_ways(self.worker_contact, self.api_url)
        # What the site adds to every job is tried now, and not when the first user asks for workers.
        jobs(self, gateway, "cluster", "user", self.cluster_config_class(parent=self), ["worker"])
        self.log.info("The jobs of this gateway carry HTCDaskGateway = %r", gateway)
        await self.launcher.open(gateway)
        self.keepers.start()
        self.task_pool.spawn(self.clean_sandboxes_loop())
        self.task_pool.spawn(self.sweep_schedulers_loop())
        self.task_pool.spawn(self.check_claim_loop())

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
        """Scale or adapt, as the user asked. A scale request whose jobs are refused changes nothing."""
        check_message(msg)
        mine = self.db.get_cluster(cluster.name)
        # One request at a time for a cluster; the others do not wait for its scheduler, which may hang.
        async with self.store.watch(mine).scaling:
            before = mine.count
            self.store.try_again(mine)
            await self._tell_scheduler(cluster, msg)  # first: it retires every worker above its count
            if msg["op"] == "scale":
                await self._follow_count(mine, msg["count"])
                try:
                    keeper = self.keepers.of(mine)
                    async with keeper.lock:
                        await keeper.submit(mine)
                except ScheddSilentError as error:
                    self.log.warning("Cluster %s: %s", mine.name, error)  # the keeper finds out
                except HTCDaskError as error:
                    await self._tell_scheduler(cluster, {"op": "scale", "count": before})
                    await self._follow_count(mine, before)
                    raise PublicException(in_one_line(error)) from error
        self.keepers.kick(mine)

    async def _tell_scheduler(self, cluster: models.Cluster, msg: dict[str, Any]) -> None:
        try:
            await asyncio.wait_for(super().forward_message_to_scheduler(cluster, msg), SCHEDULER_WAIT)
        except asyncio.TimeoutError as error:
            raise PublicException(
                f"The scheduler of cluster {cluster.name} did not answer in {SCHEDULER_WAIT:g} s."
            ) from error

    async def _follow_count(self, cluster: Cluster, count: int) -> None:
        """Wait for the heartbeat that has this count: the scheduler's word is the only one that counts."""
        deadline = time.monotonic() + HEARTBEAT_WAIT
        while cluster.count != count and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.store.watch(cluster).changed.wait(), left)
        self.store.match_count(cluster)

    def problem(self, cluster: Cluster) -> str:
        """Why the cluster is not as it should be, in one sentence; empty if it is."""
        if reason := cluster.state.get("reason"):
            return str(reason)
        waiting = any(not w.state.get("job_id") for w in self.store.wanted(cluster))
        return self.store.watch(cluster).problem or (self.keepers.trouble(cluster) if waiting else "")

    # -- sessions ----------------------------------------------------------------------------------

    def orders(self, cluster: Cluster) -> Orders:
        """What the session that submits for a cluster is asked."""
        return self.keepers.orders(cluster)

    def session_of(self, cluster: Cluster) -> dict[str, str] | None:
        """What the session that submits for a cluster says of itself; None: there is none."""
        if self.submitter == "gateway":
            return None
        orders = self.orders(cluster)
        return dict(orders.about) if orders.attached(time.monotonic()) else None

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
        """As any other, at the launcher's ports."""
        command, ports = list(super().get_scheduler_command(cluster)), self.launcher.ports
        for option, value in {
            "--port": str(ports.scheduler),
            "--dashboard-address": f"{self.default_host}:{ports.dashboard}",
            "--dg-api-address": f"{self.default_host}:{ports.api}",
        }.items():
            command[command.index(option) + 1] = value
        return command

    async def do_start_cluster(self, cluster: Cluster) -> AsyncIterator[dict[str, Any]]:
        if cluster.state:  # an earlier gateway process ended while it started this one
            await self.launcher.stop(cluster.username, cluster.state)
        place = self.launcher.place(cluster.name)
        yield place
        environment = {**self.get_scheduler_env(cluster), "DASK_GATEWAY_API_TOKEN": TOKEN_FILE}
        certificate, key = self.get_tls_paths(cluster)
        contents = {
            certificate: cluster.tls_cert.decode(),
            key: cluster.tls_key.decode(),
            TOKEN_FILE: cluster.token,
        }
        spec = SchedulerSpec(
            cluster.name,
            cluster.username,
            tuple(self.get_scheduler_command(cluster)),
            environment,
            contents,
            image=self.image_of_scheduler(cluster.config.get("image", "")),
            inherited=self.inherited_environment,
            cores=cluster.config.scheduler_cores,
            memory=cluster.config.scheduler_memory,
        )
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
        """See whether the schedulers' processes live: sooner, and with a better reason, than heartbeats."""
        checks: dict[str, asyncio.Future[None]] = {}
        while True:
            await asyncio.sleep(self.cluster_status_period)
            checks = {name: check for name, check in checks.items() if not check.done()}
            for cluster in self.db.active_clusters():
                if cluster.name not in checks:  # one that hangs does not keep the others waiting
                    checks[cluster.name] = self.task_pool.spawn(self._check_scheduler(cluster))

    async def _check_scheduler(self, cluster: Cluster) -> None:
        try:
            reason = await self.launcher.failure(cluster.username, cluster.state)
        except (HTCDaskError, OSError) as error:
            self.log.warning("Cluster %s could not be checked: %s", cluster.name, error)
            return
        if reason:
            self._fail(cluster, reason)

    def _fail(self, cluster: Cluster, reason: str) -> None:
        if cluster.target > JobStatus.RUNNING:
            return
        self.log.info("Cluster %s failed: %s", cluster.name, reason)
        self.db.update_cluster(cluster, target=JobStatus.FAILED, state={**cluster.state, "reason": reason})
        self.queue.put(cluster)
        self.store.watch(cluster).touch()

    async def _check_timeouts(self) -> None:
        """Of clusters only: how long a worker may take is the keeper's business, and queue time is none."""
        now = timestamp()
        for cluster in list(self.db.active_clusters()):
            if cluster.status == JobStatus.SUBMITTED:
                if now - cluster.start_time > self.cluster_start_timeout * 1000:
                    await self._fail_late(cluster)
            elif cluster.status == JobStatus.RUNNING:
                silent = (now - cluster.last_heartbeat) / 1000
                if silent > self.cluster_heartbeat_timeout:
                    self._fail(cluster, f"The scheduler has not been heard of for {silent:.0f} s.")

    async def _fail_late(self, cluster: Cluster) -> None:
        reason = f"The scheduler did not start in {self.cluster_start_timeout:g} s."
        with contextlib.suppress(HTCDaskError, OSError):
            reason = f"{reason} {await self.launcher.delay(cluster.username, cluster.state)}".strip()
        if cluster.status == JobStatus.SUBMITTED:
            self._fail(cluster, reason)

    async def on_cluster_heartbeat(self, cluster_name: str, msg: Mapping[str, Any]) -> None:
        cluster = self.db.get_cluster(cluster_name)
        if cluster is None or cluster.target > JobStatus.RUNNING:
            return
        try:
            beat = Heartbeat.from_json(
                msg, self.store.names(cluster), cluster.config.get("cluster_max_workers")
            )
            if addresses := self.launcher.addresses(cluster.state):
                beat = beat.at(addresses)
            else:
                beat.check_addresses(self.launcher.host)
        except (ValueError, KeyError, TypeError) as error:
            raise PublicException(f"This is no heartbeat: {error}") from error
        cluster.last_heartbeat = timestamp()
        update: dict[str, Any] = {} if beat.count == cluster.count else {"count": beat.count}
        if cluster.status != JobStatus.RUNNING:
            update.update(beat.addresses)
        if update:
            self.db.update_cluster(cluster, **update)
            self.queue.put(cluster)
        news = self.store.follow(cluster, beat)
        if cluster.status == JobStatus.RUNNING and self.store.match_count(cluster):
            self.keepers.kick(cluster)
        if news or update:
            self.store.watch(cluster).touch()

    async def sweep_schedulers_loop(self) -> None:
        """Remove what is left of schedulers whose clusters have ended, also of an earlier gateway process."""

        def is_live(name: str) -> bool:
            cluster = self.db.get_cluster(name)
            return cluster is not None and cluster.status < JobStatus.STOPPED

        while True:
            try:
                await self.launcher.sweep(is_live)
            except HTCDaskError as error:
                self.log.warning("What schedulers have left is removed later. %s", error)
            await asyncio.sleep(self.db_cleanup_period)

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

    async def check_claim_loop(self) -> None:
        """End this gateway where another one has its database: both would decide."""
        while True:
            await asyncio.sleep(CLAIM_PERIOD)
            try:
                await asyncio.to_thread(self._claim.check)
            except SQLAlchemyError as error:
                self.log.warning("The database cannot be asked: %s", error)
            except ConfigurationError as error:
                self.log.critical("%s This gateway ends.", error)
                self.stop_clusters_on_shutdown = False  # they are the other one's
                signal.raise_signal(signal.SIGTERM)
                return

    async def clean_sandboxes_loop(self) -> None:
        """Remove the sandboxes of clusters when the database forgets them, and no others."""
        known = set(self.db.name_to_cluster)
        while True:
            await asyncio.sleep(self.db_cleanup_period)
            for name in known - set(self.db.name_to_cluster):
                self.sandbox(name).remove()
                self.store.forget(name)
                await self.keepers.forget(name)
            known = set(self.db.name_to_cluster)
