"""The site's settings for the backend: traits with their defaults, and what follows from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dask_gateway_server.traitlets import Type
from traitlets import Bool, Dict, Enum, Float, Integer, Unicode, default

from htcdaskgateway.sandbox import Sandbox, private_directory
from htcdaskgateway.server.condor_access import HTCondorAccess
from htcdaskgateway.server.credential_settings import CredentialSettings
from htcdaskgateway.server.image_settings import ImageSettings
from htcdaskgateway.server.keys import encryption_keys
from htcdaskgateway.server.worker_settings import WorkerSettings


class HTCondorSettings(CredentialSettings, ImageSettings, WorkerSettings):
    """Where things are, who submits, and how schedulers are watched."""

    cluster_config_class = Type(
        "htcdaskgateway.server.traits.HTCondorClusterConfig",
        klass="dask_gateway_server.backends.base.ClusterConfig",
        help="The cluster config class to use",
        config=True,
    )
    launcher_class = Type(
        "htcdaskgateway.launchers.local.LocalLauncher",
        klass="traitlets.config.Configurable",
        help="What starts schedulers.",
        config=True,
    )

    state_directory = Unicode(
        help="""Directory of the gateway's database, keys and the clusters' sandboxes; made with mode 0700.
        Default: ``STATE_DIRECTORY`` of the environment (systemd sets it), else
        ``/var/lib/htcdaskgateway`` for root and ``~/.local/state/htcdaskgateway`` for others.""",
        config=True,
    )
    sandbox_directory = Unicode(
        help="""Directory of the clusters' sandboxes, on the access point, readable by whom the jobs belong
        to. Default: ``clusters`` in ``state_directory``.""",
        config=True,
    )
    instance = Unicode(
        "",
        help="""Id that the jobs of this gateway carry: by it they are found again, and swept when no cluster
        has them. Default: made once and kept in the database.""",
        config=True,
    )
    # A gateway with a database on disk picks its clusters up again.
    stop_clusters_on_shutdown = Bool(
        False, help="Whether to stop all clusters when the gateway ends in an orderly way.", config=True
    )

    submitter = Enum(
        ["gateway", "session"],
        "gateway",
        help="""Who submits jobs. ``gateway``: this process, as ``c.HTCondorAccess`` says. ``session``: the
        Python session of the cluster's owner, under their own HTCondor identity and with their own
        credentials, at the gateway's orders.""",
        config=True,
    )
    session_lease = Float(
        60,
        min=5,
        help="""Seconds without a word from the session that submits for a cluster, after which another
        session of its owner takes over.""",
        config=True,
    )
    session_timeout = Float(
        60, min=1, help="Seconds that a session may take to carry out an order.", config=True
    )

    # The scheduler sends none while it moves the results of workers that it retires; whether its
    # process lives is seen sooner by the launcher.
    cluster_heartbeat_timeout = Float(
        300, min=1, help="Seconds without a heartbeat after which a scheduler counts as lost.", config=True
    )
    cluster_heartbeat_period = Integer(
        2, min=1, help="Seconds between two heartbeats of a scheduler.", config=True
    )
    cluster_status_period = Float(
        2, min=0.1, help="Seconds between two looks at the schedulers' processes.", config=True
    )

    inherited_environment = Dict(
        help="Environment of every scheduler. Default: PATH, LANG and LC_ALL of the gateway.", config=True
    )

    @default("state_directory")
    def _default_state_directory(self) -> str:
        if given := os.environ.get("STATE_DIRECTORY"):
            return given
        if os.geteuid() == 0:
            return "/var/lib/htcdaskgateway"
        return str(Path.home() / ".local" / "state" / "htcdaskgateway")

    @default("sandbox_directory")
    def _default_sandbox_directory(self) -> str:
        return str(Path(self.state_directory) / "clusters")

    @default("db_url")
    def _default_db_url(self) -> str:
        return f"sqlite:///{Path(self.state_directory).absolute()}/gateway.sqlite"

    @default("db_encrypt_keys")
    def _db_encrypt_keys_default(self) -> list[bytes]:
        if os.environ.get("DASK_GATEWAY_ENCRYPT_KEYS"):
            keys: Any = super()._db_encrypt_keys_default()
        else:
            directory = private_directory(Path(self.state_directory))
            keys = self._db_encrypt_keys_validate({"value": encryption_keys(directory / "keys")})
        return list(keys)

    @default("inherited_environment")
    def _default_inherited_environment(self) -> dict[str, str]:
        return {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}

    def site_facts(self) -> dict[str, Any]:
        facts = {"submitter": self.submitter, "credentials": self.credential_facts()}
        return {**super().site_facts(), **facts}

    @property
    def condor_access(self) -> HTCondorAccess:
        """The gateway's own way to HTCondor."""
        return HTCondorAccess(parent=self, log=self.log)

    def sandbox(self, cluster_name: str) -> Sandbox:
        return Sandbox(Path(self.sandbox_directory), cluster_name)
