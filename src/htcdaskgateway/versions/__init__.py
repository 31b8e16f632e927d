"""Which versions must agree between notebook, image, scheduler and workers, and what to show if not."""

from htcdaskgateway.versions.errors import VersionMismatchError, VersionMismatchWarning
from htcdaskgateway.versions.here import versions_here
from htcdaskgateway.versions.names import MUST_AGREE, SHOWN, agree, fits
from htcdaskgateway.versions.table import Column, VersionTable

__all__ = [
    "MUST_AGREE",
    "SHOWN",
    "Column",
    "VersionMismatchError",
    "VersionMismatchWarning",
    "VersionTable",
    "agree",
    "fits",
    "versions_here",
]
