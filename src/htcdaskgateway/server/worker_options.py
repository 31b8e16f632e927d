"""Size and place of workers as cluster options, where the site has no options of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dask_gateway_server import models
from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.backends.db_base import DBBackendBase
from dask_gateway_server.options import Float, Integer, Options, String
from traitlets import Bool, TraitError, Tuple, validate
from traitlets import Float as FloatTrait
from traitlets import Integer as IntegerTrait

from htcdaskgateway.condor.match import MatchExpression
from htcdaskgateway.errors import InvalidRequestError

GIB = 2**30  # HTCondor's GB


class WorkerOptions(Options):
    """``worker_cores``, ``worker_memory`` in GB, and ``node_match_expr`` if the site wants it.

    Parameters
    ----------
    cores, memory : int
        The site's defaults; memory in bytes.
    cores_limits, memory_limits : (least, most)
        What users may ask for; memory in GB. The site's default is always one of it.
    submit_commands : mapping of str to str, optional
        The site's, to which ``node_match_expr`` is added; None: there is no such option.
    """

    def __init__(
        self,
        cores: int,
        memory: int,
        cores_limits: tuple[int, int],
        memory_limits: tuple[float, float],
        submit_commands: Mapping[str, str] | None = None,
    ) -> None:
        size = memory / GIB
        few, many = min(cores, cores_limits[0]), max(cores, cores_limits[1])
        little, much = min(size, memory_limits[0]), max(size, memory_limits[1])
        fields = [
            Integer("worker_cores", cores, min=few, max=many, label=f"Worker cores ({few} to {many})"),
            Float(
                "worker_memory",
                size,
                min=little,
                max=much,
                label=f"Worker memory (GB, {little:g} to {much:g})",
            ),
        ]
        if submit_commands is not None:
            fields.append(String("node_match_expr", label="rank = … or requirements = …"))
        self._commands = dict(submit_commands or {})
        super().__init__(*fields)

    def get_configuration(self, options: Mapping[str, Any], user: Any) -> dict[str, Any]:
        """Give what differs from the configuration of all clusters."""
        given = self.transform_options(options)
        for name in ("worker_cores", "worker_memory"):
            # To dask-gateway's fields true is a number, and NaN is within all limits.
            if isinstance(given[name], bool) or math.isnan(given[name]):
                raise PublicException(f"{name} must be a number, got {given[name]!r}")
        configuration = {
            "worker_cores": given["worker_cores"],
            "worker_memory": int(given["worker_memory"] * GIB),
        }
        if text := given.get("node_match_expr"):
            try:
                configuration["submit_commands"] = MatchExpression.parse(text).added_to(self._commands)
            except InvalidRequestError as error:
                raise PublicException(" ".join(str(error).split())) from error
        return configuration


class WorkerRequests(DBBackendBase):
    """What a backend does about the size of workers when a user asks for a cluster."""

    worker_cores_limits = Tuple(
        IntegerTrait(min=1),
        IntegerTrait(min=1),
        default_value=(1, 4),
        help="""Least and most cores of a worker that users may ask for, by ``worker_cores=``, where
        ``cluster_options`` is not set.""",
        config=True,
    )
    worker_memory_limits = Tuple(
        FloatTrait(min=0.1),
        FloatTrait(min=0.1),
        default_value=(1.0, 8.0),
        help="Likewise the memory of a worker, ``worker_memory=``, in GB of 2^30 bytes.",
        config=True,
    )
    node_match = Bool(
        True,
        help="""Whether users may say where their workers run, likewise: ``node_match_expr=`` with
        ``rank = …`` or ``requirements = …``. What the site requires is required all the same.""",
        config=True,
    )

    @validate("worker_cores_limits", "worker_memory_limits")
    def _validate_limits(self, proposal: Any) -> Any:
        least, most = proposal.value
        if least > most:
            raise TraitError(f"{proposal.trait.name} must be (LEAST, MOST), not {proposal.value!r}")
        return proposal.value

    async def get_cluster_options(self, user: models.User) -> Options:
        options = await super().get_cluster_options(user)
        if callable(self.cluster_options) or options.fields or options.handler is not None:
            return options
        site = self.cluster_config_class(parent=self)
        return WorkerOptions(
            site.worker_cores,
            site.worker_memory,
            self.worker_cores_limits,
            self.worker_memory_limits,
            site.submit_commands if self.node_match else None,
        )
