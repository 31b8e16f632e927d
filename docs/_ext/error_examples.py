"""One of each error, for its page. The words of HTCondor and others are as they came from them."""

from __future__ import annotations

from htcdaskgateway import errors
from htcdaskgateway.client import errors as client
from htcdaskgateway.client.session_credentials import NoCredentialError
from htcdaskgateway.client.views.reasons import Reason
from htcdaskgateway.condor import errors as condor
from htcdaskgateway.condor.slot_query import SlotsUnknownError
from htcdaskgateway.credentials import errors as credentials
from htcdaskgateway.credentials.words import TOKEN, X509, About
from htcdaskgateway.demo.distribute import AnalysisStalledError, TaskFailedError
from htcdaskgateway.demo.facility import LeftBehindError
from htcdaskgateway.demo.gateway_process import GatewayStartError
from htcdaskgateway.errors import HTCDaskError
from htcdaskgateway.images import errors as images
from htcdaskgateway.launchers.kubernetes import errors as kubernetes
from htcdaskgateway.server.session_schedd import NoSessionAttachedError, SessionGoneError
from htcdaskgateway.versions import VersionMismatchError
from htcdaskgateway.versions.table import Column, VersionTable

HOUR = 3600.0
NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
NAME = "315cb362d1614f73bb89c27f6737b6e7"
SCHEDD = "schedd1.example.org"
IMAGE = "coffeateam/coffea-dask-almalinux8:2024.4.1-py3.10"
NEAREST = "coffeateam/coffea-dask-almalinux8:2024.4.0-py3.10"
ROOT = "/cvmfs/unpacked.cern.ch"
PATH = f"{ROOT}/registry.hub.docker.com/{IMAGE}"
PROXY = "/tmp/x509up_u501"  # noqa: S108 - where grid tools put it
SUBJECT = "/DC=org/DC=example/CN=Ana Lyst"
MAKE = "voms-proxy-init -voms cms -valid 192:00"
REFUSED = "CEDAR:6001:Failed to connect to <192.0.2.10:9618>"
STRANGER = "AUTHENTICATE:1003:Failed to authenticate with any method"


def _about(until: float) -> About:
    return About(X509, PROXY, SUBJECT, "cms", until)


def _versions(dask: str, python: str) -> dict[str, str]:
    return {"python": python, "dask": dask, "distributed": dask, "dask-gateway": "2026.3.0"}


MISMATCH = VersionTable(
    (Column("notebook", _versions("2026.8.0", "3.11.7")), Column("image", _versions("2025.1.0", "3.13"))),
    ('Of this name, these fit this notebook:\n  image="htcdask/worker:matching"',),
)
EXPIRED = credentials.CredentialExpiredError(_about(NOW - HOUR), NOW, MAKE)

EXAMPLES: tuple[HTCDaskError, ...] = (
    HTCDaskError("This session knows no order 'renew': it is older than the gateway."),
    errors.AuthenticationError("https://dask.example.org", 401, "Unauthorized"),
    errors.ConfigurationError("The HTCondor interface 'bindngs' is none of: bindings, tools."),
    errors.GatewayUnreachableError(
        "http://127.0.0.1:8000",
        "Cannot connect to host 127.0.0.1:8000 ssl:default [Connect call failed ('127.0.0.1', 8000)]",
    ),
    errors.InvalidRequestError("n must not be negative, got -1."),
    errors.LimitError(1000, 200),
    errors.SandboxError("/scratch/analyst/" + NAME, "No space left on device"),
    errors.SchedulerStartError(NAME, "No such file or directory: apptainer"),
    client.ClusterFailedError(NAME, f"Cluster {NAME!r} is already stopped"),
    client.NoAddressError(),
    client.RefusedError(f"No session of analyst is attached to cluster {NAME}, so no jobs can be submitted."),
    client.WorkersMissingError(
        10, 7, 60, "", "7 running, 3 idle", (Reason("idle", 3, "Their jobs wait in HTCondor's queue."),)
    ),
    images.ImageNotFoundError(IMAGE, PATH, (NEAREST,)),
    images.ImageReferenceError("coffeateam/coffea dask", "it holds a space"),
    images.ImageRootMissingError(ROOT, "No such file or directory"),
    images.ImageUnreadableError(
        PATH, "the version of its Python, /opt/pypy/bin/pypy3, cannot be told from its files",
        images.run_instead(PATH),
    ),
    images.ImageUnusableError(PATH, "this account may not read it (Permission denied)"),
    images.RegistryNotFoundError("quay.io", ROOT, ("gitlab-registry.cern.ch", "registry.hub.docker.com")),
    images.TagMissingError("htcdask/worker", ("mismatched", "matching"), ("matching",)),
    VersionMismatchError("Image 'registry.example.org/htcdask/worker:mismatched'", MISMATCH),
    credentials.CredentialError("A sentence on the credential.", remedy="The command that mends it."),
    credentials.CredentialChangedError(X509, PROXY),
    credentials.CredentialEndsSoonError(_about(NOW + HOUR), NOW, MAKE),
    EXPIRED,
    credentials.CredentialForeignError(X509, PROXY, 0, 501, MAKE),
    credentials.CredentialGarbledError(X509, PROXY, "it is empty", MAKE),
    credentials.CredentialMissingError(X509, (PROXY,), "", MAKE),
    credentials.CredentialNotPrivateError(X509, PROXY, 0o644),
    credentials.CredentialNotYetValidError(_about(NOW + 12 * HOUR), NOW + HOUR, NOW, MAKE),
    credentials.CredentialTooShortError(_about(NOW + 900), NOW, HOUR, MAKE),
    credentials.CredentialUnreadableError(X509, PROXY, "Permission denied"),
    credentials.KeyMismatchError(PROXY, SUBJECT, MAKE),
    credentials.NoMoreProxiesError(_about(NOW + HOUR), MAKE),
    credentials.NotDeliveredError(
        About(TOKEN, "/tmp/bt_u501", "ana of https://issuer.example.org", "", NOW),  # noqa: S108 - likewise
        "the scheduler does not answer",
    ),
    credentials.OtherIdentityError(_about(NOW + HOUR), "/DC=org/DC=example/CN=Somebody Else"),
    credentials.VOMissingError(_about(NOW + HOUR), "dune", "", "voms-proxy-init -voms dune -valid 192:00"),
    errors.CondorError("Something about HTCondor."),
    errors.ActionRefusedError(SCHEDD, "remove", "Permission denied to remove job 22.0"),
    errors.ScheddSilentError(SCHEDD, "a query", 30),
    errors.ScheddUnavailableError(SCHEDD, REFUSED),
    errors.SubmitRefusedError(SCHEDD, "ERROR: Jobs here may ask for 5 MiB, not 10"),
    condor.CollectorUnavailableError("cm.example.org", "Error: Couldn't contact the condor_collector."),
    condor.IdentityRefusedError(SCHEDD, STRANGER, "token of ana@example.org in ~/.condor/tokens.d/pool"),
    condor.NoScheddError(
        {SCHEDD: "the collector does not show it", "schedd2.example.org": "it asks for no more matches"},
        "cm.example.org",
    ),
    condor.NotRenewedError(
        SCHEDD, ("12.0", "12.1"), "HTCondor has no program that gives a spooled job a renewed X.509 proxy.",
        "Start workers anew: scale(0), then scale(n). A session with the setting"
        " htcdaskgateway.condor.interface = bindings can give it.",
    ),
    condor.OutputError(SCHEDD, ("12.0", "12.1"), f"No such directory: /scratch/analyst/{NAME}"),
    SlotsUnknownError("cm.example.org", "Error: Couldn't contact the condor_collector."),
    NoCredentialError(EXPIRED),
    NoSessionAttachedError(NAME, "analyst"),
    SessionGoneError(SCHEDD, "a submit", 60, "the session of analyst that was asked has not answered"),
    kubernetes.KubernetesError("Something about Kubernetes."),
    kubernetes.KubernetesRefusedError(
        "create", "pods", "dask", 403, 'pods "dask-x" is forbidden: exceeded quota: small, requested: pods=1'
    ),
    kubernetes.CredentialsRefusedError("create", "pods", "dask", 401, "Unauthorized"),
    kubernetes.KubernetesSilentError(
        "create", "pods", "dask", 30, "Cannot connect to host 192.0.2.1:443 ssl:default"
    ),
    kubernetes.NotOursError("services", f"dask-{NAME}", "dask"),
    kubernetes.PermissionMissingError("create", "pods", "dask"),
    AnalysisStalledError(7, 12, 300),
    GatewayStartError("ended at its start", "OSError: [Errno 98] Address already in use"),
    LeftBehindError("its directory '/tmp/htcdask-demo-x'", "files in it cannot be removed", ""),
    TaskFailedError("my_nano.root", "FileNotFoundError: file not found: '/home/ana/my_nano.root'"),
)  # fmt: skip
