from __future__ import annotations

import subprocess
import sys

QUIET = """
import logging, sys
import dask_gateway                      # what it does itself is not ours
handlers = list(logging.getLogger().handlers), list(logging.getLogger("distributed").handlers)
touched = []
def watch(event, arguments):
    path = str(arguments[0]) if arguments else ""
    code = path.endswith((".py", ".pyc", ".so")) or "__pycache__" in path
    if event.startswith("socket.") or (event == "open" and not code):
        touched.append((event, path))
sys.addaudithook(watch)
from htcdaskgateway import HTCGateway, HTCGatewayCluster
assert handlers == (list(logging.getLogger().handlers), list(logging.getLogger("distributed").handlers))
print(touched)
"""


def test_the_import_touches_no_log_handler_no_file_and_no_network() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", QUIET], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr


def test_the_client_needs_dask_gateway_only() -> None:
    code = "import sys; from htcdaskgateway import HTCGateway; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {module.partition(".")[0] for module in ran.stdout.split()}
    assert "dask_gateway" in loaded
    assert loaded.isdisjoint(
        {"htcondor2", "classad2", "dask_gateway_server", "traitlets", "sqlalchemy", "rich"}
    )
