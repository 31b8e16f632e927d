"""Whether the chosen image fits this notebook and its jobs can start, as far as its files tell."""

from __future__ import annotations

from htcdaskgateway.client.display import tell, warn
from htcdaskgateway.client.image_search import alternatives
from htcdaskgateway.client.images import Choice, ask_itself, comparison
from htcdaskgateway.images.errors import ImageDoubtWarning, ImageUnusableError
from htcdaskgateway.versions import VersionTable

WARN = 'check_versions="warn" starts it all the same;'


async def check_image(choice: Choice) -> None:
    """Raise, or with ``check="warn"`` warn, where the image cannot do; warn where that is in doubt.

    Raises
    ------
    ImageUnusableError
        There is no ``dask`` to run.
    VersionMismatchError
    """
    contents, image = choice.contents, choice.image
    if image is None:
        return
    if choice.unread:
        warn(f"{choice.unread} It is started unread. {ask_itself(image)}", ImageDoubtWarning)
    if contents is None:
        return
    table = comparison(choice)
    if contents.runs_dask is False and table.agrees:  # else the table says more
        why = contents.notes[0]  # what is in front of it would leave it in doubt
        if choice.check != "warn":
            lines = [*await alternatives(choice), f"{WARN} expect jobs that fail at once."]
            raise ImageUnusableError(contents.path, why, "\n".join(lines))
        warn(ImageUnusableError(contents.path, why).sentence, ImageDoubtWarning)
    if not table.agrees:
        lines = [*await alternatives(choice), f"{WARN} expect errors and waits without end."]
        tell(f"Image {str(image)!r}", VersionTable(table.columns, tuple(lines)), choice.check)
    elif contents.notes and contents.runs_dask is not False:
        doubts = "; ".join(contents.notes)
        text = f"What is in image {str(image)!r} is in doubt: {doubts}.\n{ask_itself(image)}"
        warn(text, ImageDoubtWarning)
