"""How the jobs of a cluster come to HTCondor: under whose identity, and to which schedd."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dask_gateway_server.backends.db_base import Cluster, DataManager

from htcdaskgateway.server.condor_access import HTCondorAccess

SERVICE = ""  # the identity of the gateway's own account


class Way(NamedTuple):
    """Who submits the jobs of a cluster, and to which schedd.

    Attributes
    ----------
    identity : str
        A user where the gateway has tokens, a cluster where sessions submit, or ``SERVICE``.
    schedd : str
        The one that was chosen; empty: there is no choice.
    """

    identity: str
    schedd: str = ""


class Ways:
    """Tells the way of each cluster.

    Parameters
    ----------
    access : HTCondorAccess
    by_session : bool
        Sessions submit, and not the gateway.
    db : DataManager
    """

    def __init__(self, access: HTCondorAccess, by_session: bool, db: DataManager) -> None:
        self.access, self.by_session, self.db = access, by_session, db

    def of(self, cluster: Cluster) -> Way:
        if self.by_session:
            return Way(str(cluster.name))
        identity = str(cluster.username) if self.access.token_directory else SERVICE
        schedd = str(cluster.state.get("schedd", ""))
        if not schedd and self.access.chooses:  # it is older than the choice
            schedd = schedd_of([cluster])
        return Way(identity, schedd)

    def that_go(self, way: Way, clusters: Iterable[Cluster]) -> list[Cluster]:
        return [cluster for cluster in clusters if self.of(cluster) == way]

    def may_remove(self, way: Way, cluster_name: str) -> bool:
        """Whether jobs of this cluster may be removed on this way, wanted or not."""
        if way.identity == SERVICE:
            return True
        cluster = self.db.get_cluster(cluster_name)
        return cluster is not None and self.of(cluster) == way

    def schedd_name(self, way: Way, user: str) -> str:
        """The schedd that is to be asked for on a way of the gateway's own; empty: the site's default."""
        access = self.access.access(user)
        if way.schedd or access.schedd_name or "condor_submit" not in access.programs:
            return way.schedd
        # A wrapper may have chosen it, and would choose another one now.
        return schedd_of(self.that_go(way, self.db.active_clusters()))

    def not_needed(self, ways: Iterable[Way]) -> set[Way]:
        """Those of them that no cluster goes any more; the gateway's own always stay."""
        needed = {self.of(cluster) for cluster in self.db.name_to_cluster.values()}
        return {way for way in ways if way not in needed and way.identity != SERVICE}


def schedd_of(clusters: Iterable[Cluster]) -> str:
    """Name of the schedd that has jobs of these clusters."""
    workers = (worker for cluster in clusters for worker in cluster.workers.values())
    return next((str(w.state["schedd"]) for w in workers if w.state.get("schedd")), "")
