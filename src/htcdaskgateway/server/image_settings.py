"""What workers and schedulers run in: the site's settings, and what follows from them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any

from dask_gateway_server.backends.db_base import DBBackendBase
from traitlets import Dict, Enum, List, TraitError, Unicode, validate

from htcdaskgateway.condor.quoting import check_line
from htcdaskgateway.condor.worker_env import Container
from htcdaskgateway.errors import ConfigurationError, shown
from htcdaskgateway.images.catalogue import ImageCatalogue
from htcdaskgateway.images.errors import ImageReferenceError
from htcdaskgateway.images.reference import (
    ALIASES,
    DEFAULT_IMAGE,
    DEFAULT_REGISTRY,
    DEFAULT_ROOT,
    ImageReference,
    is_registry,
    parse_reference,
)
from htcdaskgateway.launchers.base import SchedulerImage
from htcdaskgateway.server.traits import HTCondorClusterConfig

SAME, NONE = "same", "none"
_OPTION = re.compile(r"-[A-Za-z]|--[A-Za-z][A-Za-z0-9-]*(=.*)?")


class ImageSettings(DBBackendBase):
    """Which images there are, which one is taken, and how Apptainer runs it."""

    runtime = Enum(
        ["apptainer", "none"],
        "apptainer",
        help="""What workers run in: ``apptainer``, the image that the user chooses; ``none``, what their
        execute point has.""",
        config=True,
    )
    image = Unicode(
        DEFAULT_IMAGE, help="Image reference that is taken where the user names none.", config=True
    )
    environments = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""Names that stand for image references, such as ``{"[stable]":
        "coffeateam/coffea-dask-almalinux8:2024.4.0-py3.10"}``: offered in the form of cluster options, and
        understood wherever an image is named, also in ``image`` above.""",
        config=True,
    )
    image_registry = Unicode(
        DEFAULT_REGISTRY, help="Registry of image references that name none.", config=True
    )
    image_root = Unicode(
        DEFAULT_ROOT,
        help="""Directory below which images lie unpacked, on execute points, on the gateway's host where
        schedulers run in images there, and where users have their sessions.""",
        config=True,
    )
    registry_aliases = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        default_value=dict(ALIASES),
        help="Other names of registries, each with its name below ``image_root``.",
        config=True,
    )
    check_versions = Enum(
        ["error", "warn", "off"],
        "error",
        help="""What a session does by default if its versions of Python, dask, distributed or dask-gateway
        are not those of the image: refuse, warn, or not look at all.""",
        config=True,
    )
    apptainer = Unicode(
        "apptainer",
        help="""Apptainer on the execute points: a path, such as
        ``/cvmfs/oasis.opensciencegrid.org/mis/apptainer/current/bin/apptainer``, or a name in ``PATH``.""",
        config=True,
    )
    apptainer_binds = List(
        Unicode(),
        help="""Directories of the execute point that workers see, as ``SOURCE[:DESTINATION[:ro]]``, such as
        ``["/cvmfs", "/etc/grid-security:/etc/grid-security:ro"]``. Without any, a worker sees its image and
        its job's scratch directory only.""",
        config=True,
    )
    apptainer_arguments = List(
        Unicode(), help='Further options of ``apptainer exec``, such as ``["--nv"]``.', config=True
    )
    scheduler_image = Unicode(
        SAME,
        help="""What schedulers run in: ``same``, the image of the workers; ``none``, what the gateway's host
        has; or an image reference.""",
        config=True,
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.looks: set[Callable[[], Any]] = set()  # into the image root, by threads

    @validate("apptainer")
    def _validate_apptainer(self, proposal: Any) -> str:
        program = str(proposal.value)
        if program.startswith("-") or not program or ("/" in program and not program.startswith("/")):
            raise TraitError(f"apptainer must be a name or an absolute path, not {program!r}")
        return program

    @property
    def catalogue(self) -> ImageCatalogue:
        return ImageCatalogue(self.image_root, self.image_registry)

    def reference(self, text: str, registry: str = "") -> ImageReference:
        """Read an image reference, or the name of one, as this site means it.

        Raises
        ------
        ImageReferenceError
        """
        return parse_reference(
            self.environments.get(text, text),
            registry or None,
            default_registry=self.image_registry,
            aliases=self.registry_aliases,
        )

    def check_images(self) -> None:
        """Raise ConfigurationError if a worker could not be started so: called when the gateway starts."""
        if self.runtime == "none":
            return
        root = check_line(self.image_root, "c.HTCondorBackend.image_root", ConfigurationError)
        if root in ("", "/") or root != posixpath.normpath(root) or not root.startswith("/"):
            raise ConfigurationError(
                f"c.HTCondorBackend.image_root = {shown(root)} is not absolute and normal."
            )
        bind_arguments(self.apptainer_binds)
        check_line(self.apptainer, "c.HTCondorBackend.apptainer", ConfigurationError)
        for word in self.apptainer_arguments:
            check_line(word, "c.HTCondorBackend.apptainer_arguments", ConfigurationError)
            if not _OPTION.fullmatch(word):
                raise ConfigurationError(
                    f"c.HTCondorBackend.apptainer_arguments holds {shown(word)}, which is no single option:"
                    " Apptainer would take it, or what follows, for the image.",
                    remedy='Write options as "--name" or "--name=value".',
                )
        for what, registry in [("image_registry", self.image_registry), *self._meant_registries()]:
            if not is_registry(registry):
                raise ConfigurationError(
                    f"c.HTCondorBackend.{what}: {shown(registry)} is not the host name of a registry."
                )
        images = {"image": self.image}
        images.update({f"environments[{name!r}]": text for name, text in self.environments.items()})
        if self.scheduler_image not in (SAME, NONE):
            images["scheduler_image"] = self.scheduler_image
        for name, text in images.items():
            try:
                reference = self.reference(text)
            except ImageReferenceError as error:
                raise ConfigurationError(
                    f"c.HTCondorBackend.{name} = {shown(text)} is no image: {error.why}."
                ) from error
            if not reference.tag:
                raise ConfigurationError(f"c.HTCondorBackend.{name} = {shown(text)} has no tag.")

    def _meant_registries(self) -> list[tuple[str, str]]:
        return [(f"registry_aliases[{name!r}]", meant) for name, meant in self.registry_aliases.items()]

    def container(self, image: str) -> Container | None:
        """What Apptainer is told on the execute point for workers in this image."""
        if self.runtime == "none":
            return None
        arguments = (*bind_arguments(self.apptainer_binds), *self.apptainer_arguments)
        path = self.catalogue.path(self.reference(image or self.image))
        return Container(str(path), self.apptainer, arguments)

    def image_of_scheduler(self, image: str) -> SchedulerImage | None:
        """What the scheduler of a cluster runs in whose workers run in this image."""
        if self.runtime == "none" or self.scheduler_image == NONE:
            return None
        text = (image or self.image) if self.scheduler_image == SAME else self.scheduler_image
        reference = self.reference(text)
        return SchedulerImage(str(reference), str(self.catalogue.path(reference)))

    def site_facts(self) -> dict[str, Any]:
        """What a session needs to know before it asks for a cluster."""
        facts: dict[str, Any] = {"runtime": self.runtime, "check_versions": self.check_versions}
        if self.runtime != "none":
            facts["image"] = str(self.reference(self.image))
            facts["image_registry"] = self.image_registry
            facts["image_root"] = self.image_root
            facts["registry_aliases"] = dict(self.registry_aliases)
            if self.environments:
                facts["environments"] = {name: str(self.reference(name)) for name in self.environments}
            if self.worker_program != "dask":
                facts["worker_program"] = self.worker_program
        return facts

    @property
    def worker_program(self) -> str:
        """What is started in an image, where no option changes ``worker_cmd``."""
        command = HTCondorClusterConfig(parent=self).worker_cmd
        return str(command[0]) if command else "dask"


def bind_arguments(binds: Iterable[str]) -> tuple[str, ...]:
    """Give Apptainer's options for these binds.

    Raises
    ------
    ConfigurationError
        One is not ``SOURCE[:DESTINATION[:ro|rw]]``, or holds a comma, which Apptainer takes for the end of
        one.
    """
    arguments: list[str] = []
    for bind in binds:
        what = "c.HTCondorBackend.apptainer_binds:"
        check_line(bind, what, ConfigurationError)
        *paths, last = bind.split(":")
        if not (paths and last in ("ro", "rw")):
            paths.append(last)
        usable = 1 <= len(paths) <= 2 and all(path.startswith("/") for path in paths)
        # A mode without a destination would be taken for one.
        if not usable or set(bind) & set(',"\\') or (len(paths) == 1 and ":" in bind):
            raise ConfigurationError(
                f"{what} {shown(bind)} is not SOURCE[:DESTINATION[:ro]], with absolute paths and without"
                " commas, quotation marks and backslashes."
            )
        arguments += ["--bind", bind]
    return tuple(arguments)
