"""Where the Dask panel of JupyterLab finds a dashboard: at a path that names the Jupyter server, too."""

from __future__ import annotations

from aiohttp import web

routes = web.RouteTableDef()
_STEP = "[A-Za-z0-9][A-Za-z0-9._-]*"


@routes.get(
    rf"/api/v1/dashboards/{{cluster_name:[0-9a-f]+}}{{server:/(?:.*/)?}}proxy/{{page:{_STEP}(?:/{_STEP})*}}"
)
async def find_dashboard(request: web.Request) -> web.Response:
    """Send on to a page of a cluster's dashboard, ``/clusters/NAME/PAGE`` below the same address.

    What stands between is for the panel only, which looks for it in a link (`htcdaskgateway.labextension`).
    Nobody is asked for, as the dashboard itself asks nobody: who knows the cluster's name may see it.
    """
    name, page = request.match_info["cluster_name"], request.match_info["page"]
    # Relative: the path that a browser sees begins elsewhere, at the gateway proxy's prefix.
    up = "../" * (request.rel_url.raw_path.count("/") - 1)
    raise web.HTTPFound(f"{up}clusters/{name}/{page}")
