# /etc/htcdaskgateway/dask_gateway_config.py: gateway and gateway proxy both read it. It holds no secret.
# ruff: noqa: F821 - `c` is there when the gateway reads this
import os
from pathlib import Path

# What systemd's LoadCredential= hands to the unit, in a directory that nobody else can read.
credentials = Path(os.environ["CREDENTIALS_DIRECTORY"])

# -- who comes in, and where ---------------------------------------------------------------------------

c.DaskGateway.backend_class = "htcdaskgateway.server.HTCondorBackend"
# The gateway itself, for the gateway proxy and for schedulers on this host. A port below 1024, so that no
# user of this host can take it while the gateway restarts, and be sent everybody's tokens.
c.DaskGateway.address = "127.0.0.1:800"

# One port for all: https, notebooks to their schedulers, workers to theirs (by the name in the TLS greeting).
c.Proxy.address = ":443"
c.Proxy.externally_managed = True  # htcdaskgateway-proxy.service: it outlives the gateway
c.Proxy.api_token = (credentials / "proxy-token").read_text().strip()
c.Proxy.tls_cert = str(credentials / "tls.crt")
c.Proxy.tls_key = str(credentials / "tls.key")

# People are who JupyterHub says. Its users have accounts of the same names on this host.
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.JupyterHubAuthenticator"
c.JupyterHubAuthenticator.jupyterhub_api_url = "http://127.0.0.1:8081/hub/api"
c.JupyterHubAuthenticator.jupyterhub_service_name = "dask-gateway"

# -- schedulers: on this host, each as its user --------------------------------------------------------

c.LocalLauncher.command_prefix = ["sudo", "-nu", "{user}", "--"]
c.LocalLauncher.python = "/opt/htcdaskgateway/bin/python"  # as in the file sudoers
c.LocalLauncher.directory = "/var/spool/htcdaskgateway"
c.HTCondorBackend.api_url = "http://127.0.0.1:800/api"  # where schedulers find the gateway
c.LocalLauncher.host = "127.0.0.1"  # workers and notebooks come through the gateway proxy

# -- workers: jobs of this host's own schedd -----------------------------------------------------------

c.HTCondorBackend.worker_contact = "gateway-proxy"
c.HTCondorBackend.worker_contact_address = "dask.example.org:443"  # this host, as execute points see it
c.HTCondorClusterConfig.submit_commands = {
    "requirements": "HasSingularity",
    "+ProjectName": '"dask"',
}
c.HTCondorBackend.image = "coffeateam/coffea-dask-almalinux8:2024.4.0-py3.10"
c.HTCondorBackend.apptainer_binds = ["/cvmfs"]

# -- how much ------------------------------------------------------------------------------------------

c.HTCondorBackend.worker_cores_limits = (1, 4)
c.HTCondorBackend.worker_memory_limits = (1, 8)  # GB
c.HTCondorClusterConfig.cluster_max_workers = 200
c.HTCondorClusterConfig.idle_timeout = 4 * 3600  # seconds without work after which a cluster ends
