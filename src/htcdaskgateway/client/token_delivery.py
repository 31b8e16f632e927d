"""A renewed bearer token on its way to running workers, over the cluster's own connections.

HTCondor transfers a file once, and knows how to renew a token only where the site runs a credential monitor
for it. The cluster has connections of its own, TLS with a key pair that only it has: session, scheduler, and
the workers' nannies, for each of which `start_worker.sh` writes a preload that puts a token in its place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from distributed.protocol import to_serialize

from htcdaskgateway.client.running import ask

OP = "htcdask_token"  # in start_worker.sh, too
TAKEN = "taken"
_TOGETHER = 100  # the scheduler opens a connection to each
_SECONDS = 30.0


async def deliver_token(
    scheduler: Any, token: bytes, have: Collection[str], seconds: float = _SECONDS
) -> tuple[set[str], str]:
    """Give a token to the workers that do not have it.

    Parameters
    ----------
    scheduler : distributed.core.rpc
    token : bytes
    have : collection of str
        Addresses of workers' nannies that need not be asked.
    seconds : float, optional
        That the scheduler may take for 100 of them.

    Returns
    -------
    set of str
        Of the workers that there are, the addresses of those nannies that have it now.
    str
        Why some do not have it; empty if all do. No failure is an error.
    """
    identity, trouble = await ask(scheduler.identity(), seconds)
    if trouble:
        return set(have), trouble
    nannies = _nannies(identity)
    given = {nanny for nanny in nannies.values() if nanny in have}
    missing = [worker for worker, nanny in nannies.items() if nanny not in have]
    for start in range(0, len(missing), _TOGETHER):
        some = missing[start : start + _TOGETHER]
        # Behind a memoryview it is not in what distributed logs of messages, if somebody has it do that.
        message = {"op": OP, "token": to_serialize(memoryview(token))}
        call = scheduler.broadcast(msg=message, workers=some, nanny=True, on_error="ignore")
        answers, why = await ask(call, seconds)
        told = answers if isinstance(answers, Mapping) else {}
        given |= {nannies[worker] for worker in some if told.get(worker) == TAKEN}
        trouble = trouble or why
    if not trouble and (without := len(set(nannies.values()) - given)):
        trouble = f"{without} of {len(nannies)} workers did not take it"
    return given, trouble


def _nannies(identity: object) -> dict[str, str]:
    """Addresses of nannies by those of their workers."""
    workers = identity.get("workers") if isinstance(identity, Mapping) else None
    if not isinstance(workers, Mapping):
        return {}
    return {
        str(address): str(about["nanny"])
        for address, about in workers.items()
        if isinstance(about, Mapping) and about.get("nanny")
    }
