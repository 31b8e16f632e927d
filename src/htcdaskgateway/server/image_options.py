"""The image as a cluster option: offered beside the site's own, read, and looked up."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from dask_gateway_server import models
from dask_gateway_server.backends.base import ClusterConfig, PublicException
from dask_gateway_server.options import Options, String

from htcdaskgateway.errors import HTCDaskError, InvalidRequestError
from htcdaskgateway.images.errors import ImageReferenceError, ImageRootMissingError
from htcdaskgateway.images.reference import ImageReference
from htcdaskgateway.server.image_settings import ImageSettings
from htcdaskgateway.threads import in_thread

LOOK = 10.0  # seconds that the image root may take to answer
MOST_LOOKS = 16  # at a time


class ImageOptions(Options):
    """The site's options, with ``image`` and ``image_registry`` before them.

    A site that has an option of one of these names keeps its own, and what its handler says of ``image``
    is what counts.
    """

    def __init__(self, site: ImageSettings, options: Options) -> None:
        self.site, self.options = site, options
        fields = [
            String("image", default=site.image, label=label(site.environments)),
            String("image_registry", label="Image registry"),
        ]
        own = {field.field for field in options.fields}
        super().__init__(*[field for field in fields if field.field not in own], *options.fields)

    def get_configuration(self, options: Mapping[str, Any], user: Any) -> dict[str, Any]:
        configuration = dict(self.options.get_configuration(options, user) or {})
        registry = configuration.pop("image_registry", "") or options.get("image_registry", "")
        image = configuration.get("image") or options.get("image") or self.site.image
        try:
            configuration["image"] = str(self.site.reference(image, registry))
        except InvalidRequestError as error:
            raise PublicException(one_line(error)) from error
        return configuration


def label(environments: Iterable[str]) -> str:
    """Say what may be typed as an image."""
    names = ", ".join(environments)
    return f"Image ({names} or another)" if names else "Image"


async def find(site: ImageSettings, image: str) -> ImageReference:
    """Look an image up, if the images can be seen from here; they need not be.

    Raises
    ------
    InvalidRequestError
        It is not there, cannot be used, or has no tag and cannot be looked up.
    """
    reference = site.reference(image)

    def look() -> ImageReference:
        try:
            return site.catalogue.find(reference)[0]
        finally:
            site.looks.discard(look)

    try:
        # Each look that hangs keeps a thread: while so many do, another one would not be answered either.
        if len(site.looks) >= MOST_LOOKS:
            raise asyncio.TimeoutError
        site.looks.add(look)
        found = await in_thread(look, LOOK)
    except ImageRootMissingError:
        why = "it has no tag, and the images cannot be seen from the gateway's host"
    except asyncio.TimeoutError:
        site.log.warning("%s did not say in %g s whether there is %s", site.image_root, LOOK, image)
        why = f"it has no tag, and {site.image_root} did not answer in {LOOK:g} s"
    else:
        return found
    if not reference.tag:
        raise ImageReferenceError(str(reference), why)
    return reference


class ImageRequests(ImageSettings):
    """What a backend does about the image when a user asks for a cluster."""

    async def get_cluster_options(self, user: models.User) -> Options:
        options = await super().get_cluster_options(user)
        return options if self.runtime == "none" else ImageOptions(self, options)

    async def process_cluster_options(
        self, user: models.User, request: Mapping[str, Any]
    ) -> tuple[dict[str, Any], ClusterConfig]:
        options, config = await super().process_cluster_options(user, request)
        if self.runtime == "none":
            return options, config
        try:
            config.image = str(await find(self, config.image))
        except InvalidRequestError as error:
            raise PublicException(one_line(error)) from error
        return {**options, "image": config.image}, config


def one_line(error: HTCDaskError) -> str:
    """All that an error says, fit for the reason of an HTTP status."""
    return " ".join(str(error).split())
