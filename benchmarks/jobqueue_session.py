"""A person's session with dask-jobqueue, as a program: jobqueue_session.py LOG_DIRECTORY ATTRIBUTE=VALUE…

Says ``ready``, then scales to each number that it reads, until its standard input ends.
"""

from __future__ import annotations

import sys

from dask_jobqueue import HTCondorCluster


def main() -> None:
    directory, *commands = sys.argv[1:]
    cluster = HTCondorCluster(
        cores=1,
        processes=1,
        memory="2GiB",
        disk="1GiB",
        log_directory=directory,
        job_extra_directives=dict(command.split("=", 1) for command in commands),
        scheduler_options={"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
    )
    print("ready", flush=True)
    for line in sys.stdin:
        cluster.scale(int(line))


if __name__ == "__main__":
    main()
