"""The site's settings for workers: how long things may take, and how they reach their scheduler."""

from __future__ import annotations

from typing import Any

from dask_gateway_server.backends.db_base import DBBackendBase
from traitlets import Enum, Float, Integer, TraitError, Unicode, default, validate

from htcdaskgateway.server.verdicts import Limits


class WorkerSettings(DBBackendBase):
    """Limits of jobs and workers, and the addresses and ports of workers."""

    queue_poll_period = Float(
        5,
        min=0.1,
        help="Seconds between two looks at HTCondor's queue: one query for all clusters.",
        config=True,
    )
    removal_grace = Float(
        10,
        min=0,
        help="""Seconds that the job of a worker that is not wanted any more may take to end by itself, so
        that its logs come back, before it is removed.""",
        config=True,
    )
    worker_start_timeout = Float(
        600,
        min=0,
        help="""Seconds from the start of a worker's job until it must have connected to its scheduler.
        Time in the queue does not count. 0: no limit.""",
        config=True,
    )
    worker_lost_timeout = Float(
        30,
        min=0,
        help="Seconds that a worker may be without connection while its job runs. 0: no limit.",
        config=True,
    )
    worker_queue_timeout = Float(
        0, min=0, help="Seconds that a job may be idle in the queue. 0 (default): no limit.", config=True
    )
    worker_lifetime = Integer(
        0, min=0, help="Seconds after which HTCondor removes a worker's job. 0: never.", config=True
    )
    worker_held_lifetime = Integer(
        3600, min=60, help="Seconds after which HTCondor itself removes a held worker job.", config=True
    )
    worker_idle_lifetime = Integer(
        7 * 86400,
        min=0,
        help="""Seconds after which HTCondor itself removes a worker job that waits for a slot. One that is
        still wanted is submitted again. 0: never, also not when cluster and session have gone.""",
        config=True,
    )
    job_lease = Integer(
        120,
        min=0,
        help="""Seconds after which HTCondor takes an execute point that does not answer for lost. 0: the
        pool's default.""",
        config=True,
    )

    worker_contact = Enum(
        ["scheduler", "gateway-proxy"],
        "scheduler",
        help="""How workers reach their scheduler: at its own address, or through the gateway proxy, which
        needs one open port only. Workers lose their connection when the gateway proxy ends, so run it
        apart from the gateway (``c.Proxy.externally_managed``) if they go through it.""",
        config=True,
    )
    worker_contact_address = Unicode(
        help="``host:port`` of the gateway proxy as workers see it. Default: ``c.Proxy.tcp_address``.",
        config=True,
    )
    worker_host = Unicode(
        "", help="Address that workers listen at; empty: the one that leads to the scheduler.", config=True
    )
    worker_ports = Unicode(
        "", help="Ports for workers, as ``LOW:HIGH``; empty: any. At least one per slot.", config=True
    )
    nanny_ports = Unicode("", help="Ports for nannies, likewise.", config=True)
    worker_death_timeout = Integer(
        60,
        min=1,
        help="Seconds after which a worker without a scheduler ends, and with it its job.",
        config=True,
    )

    @default("worker_contact_address")
    def _default_worker_contact_address(self) -> str:
        return str(self.proxy.tcp_address)

    @validate("worker_ports", "nanny_ports")
    def _validate_ports(self, proposal: Any) -> str:
        low, _, high = proposal.value.partition(":")
        if proposal.value and not (low.isdecimal() and high.isdecimal() and int(low) <= int(high) < 65536):
            raise TraitError(
                f"{proposal.trait.name} must be LOW:HIGH, such as 10000:10070, not {proposal.value!r}"
            )
        return str(proposal.value)

    @property
    def limits(self) -> Limits:
        return Limits(
            start=self.worker_start_timeout,
            lost=self.worker_lost_timeout,
            idle=self.worker_queue_timeout,
            period=self.queue_poll_period,
            grace=self.removal_grace,
        )
