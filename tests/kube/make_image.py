"""Write a root file system as an image archive: make_image.py NAME:TAG ROOTFS OUT.tar [COMMAND...]

ROOTFS is a directory or an uncompressed tar. No registry and no image builder is needed.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import IO

MIB = 1 << 20


def sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    stream.seek(0)
    while block := stream.read(MIB):
        digest.update(block)
    return digest.hexdigest()


def add(archive: tarfile.TarFile, name: str, stream: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    archive.addfile(member, stream)


def pack(rootfs: Path, scratch: IO[bytes]) -> None:
    with tarfile.open(fileobj=scratch, mode="w") as archive:
        for entry in sorted(rootfs.iterdir()):
            archive.add(entry, arcname=entry.name)


def write_image(name: str, layer: IO[bytes], out: Path, command: list[str]) -> None:
    # The configuration names a layer by the digest of its uncompressed content; the image has its own.
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2020-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": command,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer)}"]},
        "history": [{"created": "2020-01-01T00:00:00Z"}],
    }
    text = json.dumps(config).encode()
    file = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": file, "RepoTags": [name], "Layers": ["layer.tar"]}]
    partial = out.with_name(f"{out.name}.partial")
    with tarfile.open(partial, "w") as archive:
        add(archive, file, io.BytesIO(text))
        add(archive, "layer.tar", layer)
        add(archive, "manifest.json", io.BytesIO(json.dumps(manifest).encode()))
    partial.replace(out)


def main() -> None:
    name, source, target, *command = sys.argv[1:]
    rootfs, out = Path(source), Path(target)
    with tempfile.TemporaryFile(dir=out.resolve().parent) as scratch:
        if rootfs.is_dir():
            pack(rootfs, scratch)
            write_image(name, scratch, out, command or ["/bin/sh"])
        else:
            with rootfs.open("rb") as layer:
                write_image(name, layer, out, command or ["/bin/sh"])


if __name__ == "__main__":
    main()
