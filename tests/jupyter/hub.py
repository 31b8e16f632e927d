"""A real JupyterHub: people's servers run under their own accounts, the gateway is one of its services."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import yaml
from tests.support import processes
from tests.support.accounts import Accounts
from tests.support.gateway import GatewayServer
from tests.support.pool import Pool
from tests.support.ports import free_port
from tests.support.waiting import eventually

BUILD = Path(__file__).parent / "build"
SERVICE = "dask-gateway"
ACCESS = f"access:services!service={SERVICE}"
PASSWORD = "only-for-tests"
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "jupyterhub-and-lab.md"
CONFIGURATION = """
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.JupyterHub.db_url = "sqlite:///{directory}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{directory}/cookie_secret"
c.ConfigurableHTTPProxy.pid_file = "{directory}/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allowed_users = {users!r}
c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
c.Spawner.cmd = ["{environment}/bin/jupyterhub-singleuser"]
c.Spawner.notebook_dir = "{homes}/{{username}}"
c.Spawner.environment = {{
    name: lambda spawner, text=text: text.replace("{{username}}", spawner.user.name)
    for name, text in {variables!r}.items()
}}
c.Spawner.default_url = "/lab"
"""
FOR_TESTS = """
c.JupyterHub.services.append({{"name": "tests", "api_token": "{token}"}})
c.JupyterHub.load_roles.append(
    {{
        "name": "tests",
        "scopes": ["admin:users", "admin:servers", "access:servers", "tokens"],
        "services": ["tests"],
    }}
)
"""


class Hub:
    """A Hub, its own proxy, and the gateway as its service.

    Parameters
    ----------
    configuration : str
        Further lines of the gateway's configuration.
    site : dict
        What the site's file for clients, ``/etc/dask/htcdaskgateway.yaml``, holds.

    Attributes
    ----------
    url : str
        What people's browsers see.
    directory : Path
        In it ``homes/USER``, where a user's server has its notebooks.
    gateway : GatewayServer
    """

    def __init__(self, pool: Pool, accounts: Accounts, configuration: str, site: dict[str, Any]) -> None:
        self.users = [accounts.analyst, accounts.other]
        # jobs see the pool's directory, and no /tmp but their own
        self.directory = Path(tempfile.mkdtemp(prefix="htcdask-hub-", dir=pool.home))
        self.directory.chmod(0o711)
        self.port, self._hub_port, proxy_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None
        private = self.directory / "hub"
        private.mkdir(0o700)
        self._log, self._last_log = private / "log", ""
        self._addresses = {
            "hub.example.org:8081": f"127.0.0.1:{self._hub_port}",
            "https://hub.example.org": self.url,
        }
        self.gateway = GatewayServer(
            pool, accounts, self._from_the_guide("dask_gateway_config.py") + self._filled(configuration)
        )
        origin = self.gateway.url
        self._addresses["dask.example.org:8000"] = origin.removeprefix("http://")
        self.gateway.url = f"{origin}/services/{SERVICE}"
        for user in self.users:
            home = self.home(user)
            home.mkdir(mode=0o711, parents=True)
            shutil.chown(home, user, user)
        self._write_site(site)
        self._config = private / "jupyterhub_config.py"
        self._config.write_text(
            CONFIGURATION.format(
                port=self.port, hub_port=self._hub_port, proxy_port=proxy_port, proxy=proxy_program(),
                directory=private, password=PASSWORD, users=set(self.users),
                environment=processes.ENVIRONMENT, homes=self.directory / "homes",
                variables=self._variables(pool),
            )
            + self._from_the_guide("jupyterhub_config.py")
            + self._from_the_guide("jupyterhub_config.py, the list")
            + FOR_TESTS.format(token=self.token)
        )  # fmt: skip

    def home(self, user: str) -> Path:
        return self.directory / "homes" / user

    def _filled(self, configuration: str) -> str:
        return configuration.replace("{homes}", str(self.directory / "homes"))

    def _from_the_guide(self, name: str) -> str:
        """The file of this name as the guide has it, with this machine's addresses."""
        text = GUIDE.read_text(encoding="utf-8")
        [block] = re.findall(rf"^```\w+\n(# {re.escape(name)}\n.*?)^```$", text, re.DOTALL | re.MULTILINE)
        for there, here in self._addresses.items():
            block = block.replace(there, here)
        return str(block)

    def _write_site(self, site: dict[str, Any]) -> None:
        """What an administrator puts into /etc/dask where people's servers run."""
        etc = self.directory / "etc"
        etc.mkdir(0o755)
        for name in ("gateway.yaml", "labextension.yaml"):
            (etc / name).write_text(self._from_the_guide(name))
        (etc / "htcdaskgateway.yaml").write_text(self._filled(yaml.safe_dump({"htcdaskgateway": site})))

    def _variables(self, pool: Pool) -> dict[str, str]:
        """Environment of all servers; ``{username}`` stands for their user's name."""
        home = f"{self.directory}/homes/{{username}}"
        return {
            **pool.env,
            "DASK_ROOT_CONFIG": f"{self.directory}/etc",  # in the place of /etc/dask
            # nothing of these tests stays in people's homes
            "DASK_CONFIG": f"{home}/.dask",
            "JUPYTER_CONFIG_DIR": f"{home}/.jupyter",
            "JUPYTER_DATA_DIR": f"{home}/.jupyter/data",
            "JUPYTER_RUNTIME_DIR": f"{home}/.jupyter/run",
            "IPYTHONDIR": f"{home}/.ipython",
            "MPLCONFIGDIR": f"{home}/.matplotlib",
            "XDG_STATE_HOME": f"{home}/.state",
            "X509_USER_PROXY": f"{home}/x509.pem",
        }

    def start(self, deadline: float = 60) -> None:
        """Start gateway and Hub; returns when both answer."""
        self.gateway.start()
        command = [f"{processes.ENVIRONMENT}/bin/jupyterhub", "-f", str(self._config)]
        env = processes.environment("root")
        self._process = processes.spawn(command, "root", env, self.directory / "hub", self._log)
        eventually(f"Hub at {self.url}", self._is_healthy, deadline)

    def _is_healthy(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the Hub ended:\n{self.log()}")
        try:
            with urllib.request.urlopen(f"{self.url}/hub/api/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def api(self, method: str, path: str, body: object = None, token: str = "") -> Any:
        """Ask the Hub's API, ``/hub/api`` before the path, as the service `tests`."""
        return request(method, f"{self.url}/hub/api{path}", body, token or self.token)

    def new_token(self, user: str, scopes: list[str]) -> str:
        """Make a token that may do just this, as a person can on the Hub's page."""
        self._know(user)
        answer = self.api("POST", f"/users/{user}/tokens", {"scopes": scopes, "expires_in": 3600})
        return str(answer["token"])

    def _know(self, user: str) -> None:
        try:
            self.api("GET", f"/users/{user}")
        except NotFoundError:
            self.api("POST", f"/users/{user}")

    def start_server(self, user: str, deadline: float = 60) -> str:
        """Start a person's own server if it is not running or about to; its address."""
        self._know(user)

        def server() -> dict[str, Any]:
            return dict(self.api("GET", f"/users/{user}")["servers"].get("", {}))

        if not server():
            self.api("POST", f"/users/{user}/server")
        eventually(f"server of {user}", lambda: server().get("ready"), deadline)
        return f"{self.url}/user/{user}"

    def stop_server(self, user: str, deadline: float = 60) -> None:
        self.api("DELETE", f"/users/{user}/server")
        eventually(f"no server of {user}", lambda: not self.api("GET", f"/users/{user}")["server"], deadline)

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else self._last_log

    def close(self) -> list[str]:
        """Stop all of it; what it should not have left behind."""
        left: list[str] = []
        try:
            if self._process is not None:
                self._process.terminate()  # it stops people's servers and its proxy
                self._process.wait(60)
            left += self.gateway.close()
        finally:
            try:
                eventually("processes gone", lambda: not processes.mentioning(str(self.directory)), 15)
            except TimeoutError:
                left += processes.end(processes.mentioning(str(self.directory)))
            self._last_log = self.log()
            shutil.rmtree(self.directory)
        return left


class NotFoundError(Exception):
    """A Jupyter server has no such thing."""


def request(method: str, url: str, body: object, token: str) -> Any:
    """Ask a Jupyter server; its answer as JSON, None if it has none, its words in the error."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
    asked = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        with error:
            words = f"{method} {url}: {error.code} {error.read(2000).decode(errors='replace')}"
        raise (NotFoundError if error.code == 404 else RuntimeError)(words) from None
    return json.loads(text) if text else None


def proxy_program() -> Path:
    """The Hub's own proxy, built if it is not there."""
    done = subprocess.run(
        [str(BUILD)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        raise NoHubError(f"{BUILD} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return Path(done.stdout.splitlines()[-1], "node_modules", ".bin", "configurable-http-proxy")


class NoHubError(Exception):
    """There can be no Hub here; holds why."""
