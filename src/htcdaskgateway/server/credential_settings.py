"""Which of their own credentials users' jobs get: the site's policy, which their sessions follow."""

from __future__ import annotations

from typing import Any

from dask_gateway_server.backends.db_base import DBBackendBase
from traitlets import Enum, Float, Unicode

from htcdaskgateway.credentials.policy import Use

USES = [use.value for use in Use]


class CredentialSettings(DBBackendBase):
    """What sessions that submit jobs look for, check, and give to the jobs.

    The gateway itself has no credential of any user and handles none: with ``submitter = "gateway"`` jobs
    get none, whatever is set here.
    """

    x509 = Enum(
        USES,
        Use.IF_PRESENT.value,
        help="""Whether jobs get their user's X.509 proxy: ``required``, and nothing is submitted without a
        good one; ``if-present``, a bad one is a warning; ``never``. Of the ``session`` submitter only: the
        gateway has no user's credential.""",
        config=True,
    )
    x509_minimum = Float(
        600,
        min=0,
        help="""Seconds that an X.509 proxy must still be valid when jobs are submitted. HTCondor itself
        refuses less than 120.""",
        config=True,
    )
    x509_vo = Unicode(
        "",
        help="""Virtual organization, such as ``cms``, of which an X.509 proxy must have VOMS attributes;
        empty: of any or none.""",
        config=True,
    )
    x509_command = Unicode(
        "",
        help="""Command that makes a new X.509 proxy, for messages. ``{vo}`` stands for the VO, ``{out}`` for
        `` -out PATH`` where the user has it in another than the usual place. Default:
        ``voms-proxy-init -voms {vo} -valid 192:00{out}``.""",
        config=True,
    )
    token = Enum(
        USES,
        Use.IF_PRESENT.value,
        help="Whether jobs get their user's bearer token, likewise.",
        config=True,
    )
    token_minimum = Float(
        0,
        min=0,
        help="Seconds that a bearer token must still be valid when jobs are submitted.",
        config=True,
    )
    token_command = Unicode(
        "", help="Command that makes a new bearer token. Default: ``htgettoken``.", config=True
    )

    def credential_facts(self) -> dict[str, Any]:
        """What sessions are told of it."""
        return {
            "x509": {
                "use": self.x509,
                "minimum": self.x509_minimum,
                "vo": self.x509_vo,
                "command": self.x509_command,
            },
            "token": {"use": self.token, "minimum": self.token_minimum, "command": self.token_command},
        }
