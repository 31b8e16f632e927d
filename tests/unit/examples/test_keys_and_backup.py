"""What the admin guide says of keys and backups."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import InvalidToken
from dask_gateway_server.backends.db_base import DataManager

from htcdaskgateway.server.keys import encryption_keys

BACKUP = Path(__file__).parents[3] / "examples" / "sites" / "single-host" / "backup"


def opened(state: Path, keys: Sequence[str] | None = None) -> DataManager:
    """The database as a gateway opens it that has just started."""
    given = encryption_keys(state / "keys") if keys is None else keys
    fernet_keys = [base64.urlsafe_b64encode(base64.b64decode(key)) for key in given]
    return DataManager(f"sqlite:///{state}/gateway.sqlite", encrypt_keys=fernet_keys)


def new_cluster(manager: DataManager) -> Any:
    """Only in an event loop, as in the gateway."""
    return manager.create_cluster("analyst", {}, {})


def secrets_of(manager: DataManager) -> dict[str, tuple[str, bytes]]:
    return {name: (one.token, one.tls_key) for name, one in manager.name_to_cluster.items()}


def put_in_front(state: Path) -> None:
    """As the guide does: ``(openssl rand -base64 32; cat keys) > keys.new; mv keys.new keys``."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    (state / "keys").write_text(f"{key}\n{(state / 'keys').read_text()}")


async def test_after_a_rotation_old_clusters_are_read_and_new_ones_have_the_new_key(tmp_path: Path) -> None:
    before = opened(tmp_path)
    new_cluster(before)
    kept = secrets_of(before)
    put_in_front(tmp_path)

    after = opened(tmp_path)
    assert secrets_of(after) == kept
    newer = new_cluster(after)
    new, old = encryption_keys(tmp_path / "keys")

    # While a cluster of before is in the database the old key cannot be left out …
    with pytest.raises(InvalidToken):
        opened(tmp_path, [new])
    # … and the old key alone does not do for what came later.
    with pytest.raises(InvalidToken):
        opened(tmp_path, [old])

    [name] = kept
    after.update_cluster(after.name_to_cluster[name], stop_time=1)
    assert after.cleanup_expired(86400) == 1  # as it is done a day after the cluster's end
    assert set(secrets_of(opened(tmp_path, [new]))) == {newer.name}


async def back_up(state: Path, backups: Path, *keep: str) -> Path:
    command = [sys.executable, str(BACKUP), str(state), str(backups), *keep]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


async def test_a_backup_restores_the_clusters_and_is_private(tmp_path: Path) -> None:
    state, backups, restored = tmp_path / "state", tmp_path / "backups", tmp_path / "restored"
    for directory in (state, backups, restored):
        directory.mkdir()
    manager = opened(state)
    cluster = new_cluster(manager)
    sandbox = state / "clusters" / cluster.name
    sandbox.mkdir(parents=True)
    (sandbox / "dask.pem").write_text("key")

    archive = await back_up(state, backups)
    assert archive.stat().st_mode & 0o777 == 0o600
    assert list(backups.iterdir()) == [archive]
    with tarfile.open(archive) as tar:
        tar.extractall(restored, filter="data")
    assert secrets_of(opened(restored)) == secrets_of(manager)
    assert (restored / "clusters" / cluster.name / "dask.pem").read_text() == "key"


async def test_a_backup_is_of_one_moment_while_the_gateway_writes(tmp_path: Path) -> None:
    """Clusters come one by one: whoever is in the backup, all that came before is in it too."""
    backups = tmp_path / "backups"
    backups.mkdir()
    opened(tmp_path)
    made: list[str] = []
    some, enough = threading.Event(), threading.Event()

    async def write() -> None:
        manager = opened(tmp_path)  # SQLite: one thread
        while not enough.is_set() and len(made) < 200:
            made.append(new_cluster(manager).name)
            if len(made) == 3:
                some.set()

    writer = threading.Thread(target=lambda: asyncio.run(write()))
    writer.start()
    try:
        assert await asyncio.to_thread(some.wait, 30)
        archive = await back_up(tmp_path, backups)
    finally:
        enough.set()
        writer.join()
    with tarfile.open(archive) as tar:
        tar.extractall(backups, filter="data")
    with sqlite3.connect(backups / "gateway.sqlite") as copy:
        [check] = copy.execute("pragma integrity_check").fetchone()
        names = {name for (name,) in copy.execute("select name from clusters")}
    copy.close()
    assert check == "ok"
    assert len(names) >= 3
    assert names == set(made[: len(names)])


async def test_clusters_may_end_during_a_backup(tmp_path: Path) -> None:
    """What it has listed goes, and what it reads becomes shorter."""
    state, backups = tmp_path / "state", tmp_path / "backups"
    backups.mkdir()
    for cluster in ("a", "b", "c", "d"):
        (state / "clusters" / cluster).mkdir(parents=True)
        (state / "clusters" / cluster / "dask.pem").write_text("key")
    (state / "clusters" / "d" / "link").symlink_to("/etc/hostname")
    log = state / "clusters" / "a" / "worker.err"
    log.write_bytes(random.Random(1).randbytes(20 * 2**20))  # takes a while

    backing_up = asyncio.ensure_future(back_up(state, backups))
    while not any(file.stat().st_size for file in backups.glob("*/*.tar.gz")):
        assert not backing_up.done(), backing_up.result()
        await asyncio.sleep(0.005)
    shutil.rmtree(state / "clusters" / "b")
    (state / "clusters" / "c" / "dask.pem").unlink()
    os.truncate(log, 10)
    with tarfile.open(await backing_up) as tar:
        found = {one.name: one for one in tar}
    assert [name for name in found if name.count("/") == 1] == [f"clusters/{name}" for name in "acd"]
    assert not [name for name in found if name.startswith(("clusters/b", "clusters/c/"))]
    assert found["clusters/d/dask.pem"].size == 3
    assert found["clusters/d/link"].linkname == "/etc/hostname"


async def test_the_program_may_come_by_standard_input(tmp_path: Path) -> None:
    """As into a pod."""
    backups = tmp_path / "backups"
    backups.mkdir()
    opened(tmp_path)
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-", str(tmp_path), str(backups), "1"],
        input=BACKUP.read_bytes(), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert list(backups.iterdir()) == [Path(done.stdout.decode().strip())]


async def test_what_is_elsewhere_is_left_out_and_named(tmp_path: Path) -> None:
    """The database in PostgreSQL, the keys in a secret."""
    state, backups = tmp_path / "state", tmp_path / "backups"
    backups.mkdir()
    (state / "clusters" / "c1").mkdir(parents=True)
    command = [sys.executable, str(BACKUP), str(state), str(backups)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == f"not in {state}, so not in the archive: gateway.sqlite, keys\n"
    with tarfile.open(done.stdout.strip()) as tar:
        assert tar.getnames() == ["clusters", "clusters/c1"]


async def test_old_backups_go(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    opened(tmp_path)
    for day in (1, 2, 3):
        (backups / f"htcdaskgateway-2020010{day}T000000Z.tar.gz").touch()
    newest = await back_up(tmp_path, backups, "2")
    assert sorted(backups.iterdir()) == [backups / "htcdaskgateway-20200103T000000Z.tar.gz", newest]
