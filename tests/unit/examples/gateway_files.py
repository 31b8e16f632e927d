"""Loads a gateway's configuration file as the gateway does, and refuses what it would only warn of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dask_gateway_server.app import DaskGateway
from dask_gateway_server.proxy.core import Proxy
from traitlets.config import Config, Configurable


def load(file: Path) -> tuple[Any, Any]:
    """Make what the gateway makes of its configuration.

    Returns
    -------
    application, backend

    Raises
    ------
    AssertionError
        It names a class or a setting that there is none of.
    traitlets.TraitError
        A value is of the wrong type.
    htcdaskgateway.errors.ConfigurationError
        Values that the gateway refuses when it starts.
    """
    app = DaskGateway()
    app.load_config_file(str(file))
    authenticator = app.authenticator_class(parent=app, log=app.log)
    backend = app.backend_class(parent=app, log=app.log)
    launcher = backend.launcher_class(parent=backend)
    access = backend.condor_access
    config_class = backend.cluster_config_class
    backend.gateway_address = app.address
    backend.proxy = proxy = Proxy(parent=backend, log=app.log)
    made = [app, authenticator, backend, launcher, access, proxy]
    made.append(config_class(parent=backend))
    no_strangers(app.config, [type(one) for one in made])
    launcher.check_configuration()
    launcher.check_ways(backend.worker_contact, backend.api_url)
    backend.check_images()
    access.check()
    return app, backend


def no_strangers(config: Config, classes: list[type[Configurable]]) -> None:
    """Every section is one of the classes in use, or of those they are made of; every setting is theirs."""
    strangers = []
    for section, settings in config.items():
        meant = [cls for cls in classes if section in (base.__name__ for base in cls.__mro__)]
        known = {name for cls in meant for name in cls.class_trait_names(config=True)}
        strangers += [f"c.{section}.{name}" for name in settings if name not in known]
    assert not strangers, strangers
