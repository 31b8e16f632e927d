"""The Helm chart, rendered by Helm's own library: no program `helm` is needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from helm_python import Chart
from tests.support import processes

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "htcdaskgateway"
ROUTE = Path(__file__).parent / "route_crd.yaml"
RELEASE = "dask"

# Each way of installing that differs: name, values.
COMBINATIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "okd": {
        "okd": True,
        "route": {"enabled": True, "host": "dask.apps.example.org"},
        "gateway": {"prefix": "/services/dask"},
    },
    "okd-reencrypt": {
        "okd": True,
        "route": {"enabled": True, "termination": "reencrypt", "destinationCACertificate": "CA\ntext"},
        "proxy": {"tlsSecret": "web-tls"},
    },
    "okd-passthrough": {
        "route": {"enabled": True, "termination": "passthrough"},
        "proxy": {"tlsSecret": "web-tls"},
    },
    "ingress": {
        "ingress": {
            "enabled": True, "className": "nginx", "host": "dask.example.org", "tlsSecret": "web",
            "annotations": {"a.example.org/b": "c"},
        },
        "gateway": {"prefix": "/dask/"},
    },
    "postgresql": {
        "gateway": {
            "database": {"urlSecret": {"name": "database"}},
            "encryptionKeysSecret": {"name": "keys"},
            "persistence": {"enabled": False},
        }
    },
    "claim": {"gateway": {"persistence": {"existingClaim": "mine"}}},
    "storage-class": {"gateway": {"persistence": {"storageClassName": "fast", "size": "10Gi"}}},
    "gateway-submits": {
        "condor": {
            "submitter": "gateway", "collector": "cm.example.org", "schedds": ["one.example.org"],
            "tokensSecret": "tokens", "passwordsSecret": "passwords",
            "config": "SEC_DEFAULT_ENCRYPTION = REQUIRED\nSEC_CLIENT_AUTHENTICATION_METHODS = IDTOKENS",
        }
    },
    "users-tokens": {
        "condor": {
            "submitter": "gateway", "schedds": ["one.example.org", "two.example.org"],
            "userTokensSecret": "people",
        }
    },
    "simple": {"gateway": {"auth": {"type": "simple", "simple": {"passwordSecret": {"name": "password"}}}}},
    "simple-open": {"gateway": {"auth": {"type": "simple"}}},
    "custom": {
        "gateway": {
            "auth": {
                "type": "custom",
                "custom": {
                    "class": "dask_gateway_server.auth.KerberosAuthenticator",
                    "config": {"keytab": "/run/secrets/keytab"},
                },
            }
        }
    },
    "extras": {
        "imagePullSecrets": ["pull"],
        "image": {"name": "registry.example.org/x/gateway", "tag": "1.2", "pullPolicy": "Always"},
        "gateway": {
            "config": {"HTCondorBackend": {"queue_poll_period": 7, "apptainer_binds": ["/cvmfs"]}},
            "extraConfig": {"b": "import os", "a": "c.ClusterConfig.idle_timeout = 60.0"},
            "env": [{"name": "A", "value": "b"}],
            "extraVolumes": [{"name": "cvmfs", "hostPath": {"path": "/cvmfs"}}],
            "extraVolumeMounts": [{"name": "cvmfs", "mountPath": "/cvmfs", "readOnly": True}],
            "labels": {"team": "cms"}, "annotations": {"a": "b"}, "priorityClassName": "high",
            "nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "service": {"annotations": {"a": "b"}, "clusterIP": "10.96.201.1"},
            "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a.example.org"]}],
            "livenessProbe": {"enabled": False},
        },
        "proxy": {
            "replicas": 2, "image": {"tag": "1.1"}, "publicAddress": "dask.example.org:8786",
            "tokenSecret": "mine", "labels": {"team": "cms"}, "annotations": {"a": "b"},
        },
        "service": {"type": "NodePort", "nodePort": 30080, "annotations": {"a": "b"}},
        "schedulerService": {
            "loadBalancerIP": "192.0.2.1", "loadBalancerSourceRanges": ["192.0.2.0/24"],
            "externalIPs": ["192.0.2.2"], "annotations": {"a": "b"},
        },
        "schedulers": {
            "namespace": "dask-schedulers", "cores": {"request": 2, "limit": 2.5},
            "memory": {"limit": "8G"}, "nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}],
            "podTemplate": {"spec": {"priorityClassName": "high"}}, "image": "example.org/dask:1",
            "imagePullSecrets": ["pull"], "address": "cluster-ip", "serviceAccountName": "schedulers",
        },
        "networkPolicy": {
            "from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "gatewayFrom": [{"podSelector": {}}],
            "schedulerEgress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}],
        },
        "serviceAccount": {"annotations": {"a": "b"}},
    },
    "made-by-others": {
        "rbac": {"create": False}, "serviceAccount": {"create": False, "name": "there"},
        "networkPolicy": {"enabled": False}, "fullnameOverride": "gateway",
    },
}  # fmt: skip

Manifest = dict[str, Any]


def render(values: dict[str, Any], namespace: str = "site") -> list[Manifest]:
    """Every object that Helm would make with these values."""
    with Chart.load(CHART) as chart:
        texts = chart.render(values, name=RELEASE, namespace=namespace)
    found = [
        one for file, text in texts.items() if file.endswith(".yaml") for one in yaml.safe_load_all(text)
    ]
    return [one for one in found if one]


def check_route(route: Manifest) -> None:
    """Hold a Route against OKD's API; jsonschema.ValidationError."""
    [version] = yaml.safe_load(ROUTE.read_text())["spec"]["versions"]
    jsonschema.validate(route, closed(version["schema"]["openAPIV3Schema"]))


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Without room for what is not named in it, as kubectl and the API server have it together."""
    if "properties" not in schema:
        return schema
    properties = {name: closed(one) for name, one in schema["properties"].items()}
    return {**schema, "properties": properties, "additionalProperties": False}


def pick(manifests: list[Manifest], kind: str, suffix: str = "") -> Manifest:
    """The one object of this kind whose name ends so."""
    [found] = [m for m in manifests if m["kind"] == kind and m["metadata"]["name"].endswith(suffix)]
    return found


# In a process of its own, for what traitlets warns of is global there; of all at once, for it takes a second.
LOAD = r"""
import json, logging, sys
import dask_gateway_server.app as app
from dask_gateway_server.proxy import Proxy

class Listener(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.WARNING: problems.append(record.getMessage())

def load(file):
    gateway = app.DaskGateway()
    gateway.log.addHandler(Listener())
    gateway.initialize(["-f", file])
    backend = gateway.backend
    proxy = backend.proxy = Proxy(parent=backend, log=gateway.log)
    launcher = backend.launcher_class(parent=backend, log=gateway.log)
    launcher.check_configuration()
    launcher.check_ways(backend.worker_contact, backend.api_url)
    access, config = backend.condor_access, backend.cluster_config_class(parent=backend)
    known = {}
    for one in (gateway, backend, gateway.authenticator, proxy, launcher, access, config):
        for cls in type(one).__mro__:
            if hasattr(cls, "class_traits"):
                known.setdefault(cls.__name__, set()).update(cls.class_traits(config=True))
    problems.extend(
        f"there is no trait {name}.{trait}"
        for name, traits in gateway.config.items() for trait in traits if trait not in known.get(name, ())
    )
    return {
        "submitter": backend.submitter, "db_url": backend.db_url, "keys": len(backend.db_encrypt_keys),
        "token": proxy.api_token, "poll": backend.queue_poll_period, "spool": access.spool,
        "contact": backend.worker_contact_address, "memory": config.scheduler_memory,
        "idle": config.idle_timeout, "run_as": launcher.run_as_user, "namespace": launcher.namespace,
    }

answers = []
for file in sys.argv[1:]:
    problems = []
    try:
        answers.append({**load(file), "problems": problems})
    except Exception as error:
        answers.append({"problems": [*problems, f"{type(error).__name__}: {error}"]})
print(json.dumps(answers))
"""
SECRETS = {
    "proxy-token": "p" * 64,
    "jupyterhub-token": "h" * 32,
    "password": "secret",
    "database-url": "postgresql+psycopg://u:p@db/x",
    "encryption-keys": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
}


def write_configuration(manifests: list[Manifest], directory: Path) -> Path:
    """Write what the gateway's pod would have mounted, below a directory; the configuration file."""
    secrets = directory / "secrets"
    secrets.mkdir()
    for name, content in SECRETS.items():
        (secrets / name).write_text(f"{content}\n")
    for name, text in pick(manifests, "ConfigMap")["data"].items():
        moved = text.replace("/etc/htcdaskgateway", str(directory))
        moved = moved.replace("/run/secrets/htcdaskgateway", str(secrets))
        (directory / name).write_text(moved.replace("/var/lib/htcdaskgateway", str(directory)))
    return directory / "dask_gateway_config.py"


def load_configurations(files: list[Path]) -> list[dict[str, Any]]:
    """Load configuration files with the real server.

    Returns
    -------
    list of dict
        Of each: ``problems``, what was not understood of it; and some of the values that came of it.
    """
    command = [sys.executable, "-c", LOAD, *map(str, files)]
    told = processes.output(command, "the reader of configurations", deadline=110)
    return list(json.loads(told.splitlines()[-1]))
