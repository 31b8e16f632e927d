"""The catalogue, over a tree that is made as CVMFS has it: tags are links to flat directories."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.images import listing as module
from htcdaskgateway.images.catalogue import ImageCatalogue
from htcdaskgateway.images.errors import (
    ImageNotFoundError,
    ImageRootMissingError,
    ImageUnusableError,
    RegistryNotFoundError,
    TagMissingError,
)
from htcdaskgateway.images.reference import parse_reference

DOCKER = "registry.hub.docker.com"
GITLAB = "gitlab-registry.cern.ch"
ELSEWHERE = "or pass image_registry= if it is in another registry."
BASE = "coffeateam/coffea-base-almalinux8:0.7.22-py3.10"
IMAGES = [
    f"{DOCKER}/coffeateam/coffea-dask-almalinux8:2024.4.0-py3.10",
    f"{DOCKER}/coffeateam/coffea-dask-almalinux8:2024.3.0-py3.9",
    f"{DOCKER}/coffeateam/coffea-dask-almalinux8:2023.12.0-py3.10",
    f"{DOCKER}/coffeateam/coffea-dask-almalinux8:latest",
    f"{DOCKER}/coffeateam/coffea-base-almalinux8:0.7.22-py3.10",
    f"{DOCKER}/library/debian:12",
    f"{GITLAB}/group:1",
    f"{GITLAB}/group/sub/deeper/tool:v2",
    f"{GITLAB}/group/sub/tool:v1",
    "ghcr.io/coffeateam/analysis:1.0",
    "ghcr.io/coffeateam/analysis:1.1",
]


def publish(root: Path, reference: str) -> Path:
    """Put an image there: a flat directory, and a relative link by its name."""
    digest = hashlib.sha256(reference.encode()).hexdigest()
    flat = root / ".flat" / digest[:2] / digest
    (flat / "usr/bin").mkdir(parents=True)
    (flat / "etc").mkdir()
    link = root / reference
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(flat, link.parent))
    return flat


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "unpacked"
    for reference in IMAGES:
        publish(root, reference)
    (root / ".layers/ab").mkdir(parents=True)
    (root / ".cvmfscatalog").touch()
    (root / "README").touch()
    return root


@pytest.fixture
def images(root: Path) -> ImageCatalogue:
    return ImageCatalogue(root)


def error_of(kind: type[InvalidRequestError], call: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(kind) as caught:
        call(*args)
    return str(caught.value)


def remedy(root: Path | str) -> str:
    return (
        f"Try `ls {root}`: CVMFS mounts it when it is looked into. If the images are elsewhere, set"
        ' htcdaskgateway.image-root in Dask\'s configuration; check_versions="off" goes without them.'
    )


class TestFind:
    @pytest.mark.parametrize("reference", IMAGES)
    def test_what_is_there(self, images: ImageCatalogue, reference: str) -> None:
        asked = parse_reference(reference)
        assert images.find(asked) == (asked, images.root / reference)

    def test_plain_directories(self, images: ImageCatalogue) -> None:
        (images.root / "x.y/a:1/usr").mkdir(parents=True)
        asked = parse_reference("x.y/a:1")
        assert images.find(asked) == (asked, images.root / "x.y/a:1")

    def test_dockers_own(self, images: ImageCatalogue) -> None:
        official = parse_reference("library/debian:12")
        for text in ("debian:12", "debian", "docker.io/debian"):
            assert images.find(parse_reference(text)) == (official, images.path(official))

    @pytest.mark.parametrize("text", ["ghcr.io/debian:12", "a/debian:12"])
    def test_nobody_elses(self, images: ImageCatalogue, text: str) -> None:
        publish(images.root, "ghcr.io/library/debian:12")
        publish(images.root, f"{DOCKER}/library/a/debian:12")
        assert error_of(ImageNotFoundError, images.find, parse_reference(text))

    def test_one_tag_is_taken(self, images: ImageCatalogue) -> None:
        found, path = images.find(parse_reference("coffeateam/coffea-base-almalinux8"))
        assert str(found) == f"{DOCKER}/coffeateam/coffea-base-almalinux8:0.7.22-py3.10"
        assert path == images.root / str(found)

    def test_several_tags_are_shown(self, images: ImageCatalogue) -> None:
        asked = parse_reference("coffeateam/coffea-dask-almalinux8")
        assert error_of(TagMissingError, images.find, asked) == (
            "Image 'coffeateam/coffea-dask-almalinux8' has 4 tags, and none was given.\n"
            "  tags: 2024.4.0-py3.10\n"
            "        2024.3.0-py3.9\n"
            "        2023.12.0-py3.10\n"
            "        latest\n"
            "Choose one: image='coffeateam/coffea-dask-almalinux8:2024.4.0-py3.10'."
        )

    def test_the_registry_is_named_where_it_must_be_typed(self, images: ImageCatalogue) -> None:
        asked = parse_reference("coffeateam/analysis", "ghcr.io")
        text = error_of(TagMissingError, images.find, asked)
        assert text.endswith("\nChoose one: image='ghcr.io/coffeateam/analysis:1.1'.")
        here = ImageCatalogue(images.root, default_registry="ghcr.io")
        text = error_of(TagMissingError, here.find, asked)
        assert text.endswith("\nChoose one: image='coffeateam/analysis:1.1'.")

    def test_it_is_one_look(self, images: ImageCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
        looks = count_looks(monkeypatch)
        images.find(parse_reference(IMAGES[0]))
        assert looks == [f"{images.root}/{IMAGES[0]}/."]


class TestNotFound:
    def test_another_tag(self, images: ImageCatalogue) -> None:
        asked = parse_reference("coffeateam/coffea-dask-almalinux8:2024.4.1-py3.10")
        assert error_of(ImageNotFoundError, images.find, asked) == (
            "Image 'coffeateam/coffea-dask-almalinux8:2024.4.1-py3.10' is not below the image root.\n"
            f"  looked for: {images.root}/{asked}\n"
            "  nearest:    coffeateam/coffea-dask-almalinux8:2024.4.0-py3.10\n"
            "              coffeateam/coffea-dask-almalinux8:2023.12.0-py3.10\n"
            "              coffeateam/coffea-dask-almalinux8:2024.3.0-py3.9\n"
            f"Use the nearest name, {ELSEWHERE}"
        )

    @pytest.mark.parametrize(
        ("text", "nearest"),
        [
            (BASE.replace("ff", "f"), BASE),
            (BASE.removeprefix("coffeateam/"), BASE),
            ("coffeateam/coffea-bas-almalinux8", "coffeateam/coffea-base-almalinux8"),
            ("debian:13", "library/debian:12"),
            (f"{GITLAB}/group/tool:v2", f"{GITLAB}/group/sub/tool:v1"),
            (f"{GITLAB}/group:of-another-kind", f"{GITLAB}/group:1"),
            ("coffeateam/analysis:1.1", "ghcr.io/coffeateam/analysis:1.1"),
        ],
    )  # fmt: skip
    def test_the_nearest_name(self, images: ImageCatalogue, text: str, nearest: str) -> None:
        with pytest.raises(ImageNotFoundError) as caught:
            images.find(parse_reference(text))
        assert caught.value.nearest[0] == nearest
        images.find(parse_reference(nearest))  # it can be typed as it stands

    def test_nothing_like_it(self, images: ImageCatalogue) -> None:
        (images.root / "ghcr.io/queue").mkdir()  # a directory of images, no image
        asked = parse_reference("queue")
        assert error_of(ImageNotFoundError, images.find, asked) == (
            "Image 'queue' is not below the image root.\n"
            f"  looked for: {images.root}/{DOCKER}/queue:*\n"
            f"See `htcdask images` for those that are, {ELSEWHERE}"
        )

    def test_no_such_registry(self, images: ImageCatalogue) -> None:
        assert error_of(RegistryNotFoundError, images.find, parse_reference("a/b:1", "quay.io")) == (
            f"No images of the registry 'quay.io' are below {images.root}.\n"
            f"  registries there: ghcr.io\n"
            f"                    {GITLAB}\n"
            f"                    {DOCKER}\n"
            "Pass one of these as image_registry=."
        )

    def test_a_file_where_a_directory_should_be(self, images: ImageCatalogue) -> None:
        (images.root / DOCKER / "file").touch()
        for text in ("file/x:1", "file/x"):
            assert error_of(ImageNotFoundError, images.find, parse_reference(text))

    def test_every_kind_of_bad_reference_stays_below_the_root(self, images: ImageCatalogue) -> None:
        for text in ("../x:1", "/etc", "a/../../etc:1"):
            with pytest.raises(InvalidRequestError):
                images.find(parse_reference(text))


class TestRoot:
    @pytest.mark.parametrize("text", ["coffeateam/x:1", "coffeateam/x", "debian:12"])
    def test_missing(self, tmp_path: Path, text: str) -> None:
        root = tmp_path / "no"
        expected = (
            f"The image root {root} is not mounted on this machine.\n"
            f"  looking into it: No such file or directory\n{remedy(root)}"
        )
        assert error_of(ImageRootMissingError, ImageCatalogue(root).find, parse_reference(text)) == expected
        assert error_of(ImageRootMissingError, ImageCatalogue(root).walk) == expected
        assert error_of(ImageRootMissingError, ImageCatalogue(root).registries) == expected

    def test_empty_as_a_mount_point_without_its_mount(self, tmp_path: Path) -> None:
        assert error_of(ImageRootMissingError, ImageCatalogue(tmp_path).find, parse_reference("a:1")) == (
            f"The image root {tmp_path} is not mounted on this machine.\n"
            f"  looking into it: an empty directory\n{remedy(tmp_path)}"
        )

    def test_a_loop_is_the_roots_fault(self, tmp_path: Path) -> None:
        root = tmp_path / "loop"
        root.symlink_to("loop")
        for text in ("a:1", "a"):
            shown = error_of(ImageRootMissingError, ImageCatalogue(root).find, parse_reference(text))
            assert "  looking into it: Too many levels of symbolic links\n" in shown

    def test_without_a_registry(self, tmp_path: Path) -> None:
        (tmp_path / "README").touch()
        assert error_of(RegistryNotFoundError, ImageCatalogue(tmp_path).find, parse_reference("a:1")) == (
            f"No images of the registry '{DOCKER}' are below {tmp_path}.\n  registries there: none"
        )

    def test_it_is_not_looked_at_before_it_is_needed(self, tmp_path: Path) -> None:
        catalogue = ImageCatalogue(str(tmp_path / "no"))
        assert catalogue.path(parse_reference("a:1")) == tmp_path / "no" / DOCKER / "a:1"


class TestUnusable:
    @pytest.fixture
    def place(self, images: ImageCatalogue) -> Path:
        return images.root / DOCKER / "coffeateam/broken:1"

    def why(self, images: ImageCatalogue, place: Path) -> str:
        text = error_of(ImageUnusableError, images.find, parse_reference("coffeateam/broken:1"))
        head = f"The image {place} cannot be used: "
        assert text.startswith(head)
        return text.removeprefix(head)

    def test_a_file(self, images: ImageCatalogue, place: Path) -> None:
        place.touch()
        assert self.why(images, place) == "it is not a directory."

    def test_a_link_to_a_file(self, images: ImageCatalogue, place: Path) -> None:
        place.symlink_to(images.root / "README")
        assert self.why(images, place) == "it is not a directory."

    @pytest.mark.timeout(10)
    def test_a_pipe(self, images: ImageCatalogue, place: Path) -> None:
        os.mkfifo(place)
        assert self.why(images, place) == "it is not a directory."

    def test_a_dangling_link(self, images: ImageCatalogue, place: Path) -> None:
        place.symlink_to("../../.flat/ab/gone")
        assert self.why(images, place) == "it is a link to '../../.flat/ab/gone', which is not there."
        # looked up by its tag as well
        assert error_of(ImageUnusableError, images.find, parse_reference("coffeateam/broken"))

    def test_a_link_loop(self, images: ImageCatalogue, place: Path) -> None:
        place.symlink_to("other:1")
        (place.parent / "other:1").symlink_to(place.name)
        assert self.why(images, place) == "its links form a loop (Too many levels of symbolic links)."


AS_SOMEBODY = """\
import os, sys
from htcdaskgateway.errors import InvalidRequestError
from htcdaskgateway.images.catalogue import ImageCatalogue
from htcdaskgateway.images.reference import parse_reference
images = ImageCatalogue(sys.argv[1])
if os.geteuid() == 0:
    os.seteuid(65534)
for text in sys.argv[2:]:
    try:
        print(images.find(parse_reference(text))[0])
    except InvalidRequestError as error:
        print(f"{type(error).__name__}: {error}")
print("walk:", *(one.name for one, _ in images.walk()))
"""


class TestUnreadable:
    """In a process of an account that mode bits hold for: root may read everything."""

    @pytest.fixture
    def root(self) -> Iterator[Path]:
        # Not below pytest's own directory, which nobody else may enter.
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            root = Path(folder, "unpacked")
            for reference in IMAGES:
                publish(root, reference)
            yield root

    def run(self, root: Path, *texts: str) -> list[str]:
        command = [sys.executable, "-c", AS_SOMEBODY, str(root), *texts]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert not done.returncode, done.stderr
        return done.stdout.splitlines()

    @pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
    def test_an_image(self, root: Path, mode: int) -> None:
        flat = publish(root, f"{DOCKER}/coffeateam/secret:1")
        flat.chmod(mode)
        secret, other, walk = self.run(root, "coffeateam/secret:1", "debian:12")
        assert secret == (
            f"ImageUnusableError: The image {root}/{DOCKER}/coffeateam/secret:1 cannot be used:"
            " this account may not read it (Permission denied)."
        )
        assert other == f"{DOCKER}/library/debian:12"
        assert "coffeateam/secret:1" in walk.split()
        flat.chmod(0o755)
        assert self.run(root, "coffeateam/secret:1")[0] == f"{DOCKER}/coffeateam/secret:1"

    def test_a_directory_of_images(self, root: Path) -> None:
        (root / DOCKER / "coffeateam").chmod(0o000)
        tagged, untagged, missing, *_, walk = self.run(
            root, "coffeateam/coffea-base-almalinux8:0.7.22-py3.10", "coffeateam/x", "debian:13"
        )
        folder = f"{root}/{DOCKER}/coffeateam"
        denied = "cannot be used: this account may not read it (Permission denied)."
        base = "coffea-base-almalinux8:0.7.22-py3.10"
        assert tagged == f"ImageUnusableError: The image {folder}/{base} {denied}"
        assert untagged == f"ImageUnusableError: The image {folder}/x {denied}"
        # what may be read is still listed
        assert missing.startswith("ImageNotFoundError: ")
        assert "library/debian:12" in walk.split()
        assert "coffeateam/" not in walk.replace("coffeateam/analysis", "")

    def test_the_names_cannot_be_listed_and_the_image_is_absent(self, root: Path) -> None:
        (root / DOCKER / "coffeateam").chmod(0o111)
        first, *_ = self.run(root, "coffeateam/absent:1")
        assert first == "ImageNotFoundError: Image 'coffeateam/absent:1' is not below the image root."

    def test_the_root(self, root: Path) -> None:
        root.chmod(0o000)
        command = AS_SOMEBODY.replace("images.walk()", "[]")
        done = subprocess.run(
            [sys.executable, "-c", command, str(root), "debian:12", "debian"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.count("ImageRootMissingError: ") == 2, done.stderr
        assert done.stdout.count("  looking into it: Permission denied\n") == 2


class TestTags:
    def test_the_newest_first(self, images: ImageCatalogue) -> None:
        asked = parse_reference("coffeateam/coffea-dask-almalinux8:2023.12.0-py3.10")
        assert [one.tag for one in images.tags(asked)] == [
            "2024.4.0-py3.10", "2024.3.0-py3.9", "2023.12.0-py3.10", "latest"
        ]  # fmt: skip
        assert {one.repository for one in images.tags(asked)} == {asked.repository}

    def test_only_of_this_name(self, images: ImageCatalogue) -> None:
        folder = images.root / DOCKER / "coffeateam"
        for name in ("tool:1", "tool:2"):
            (folder / name).mkdir()
        for name in ("tool-x:3", "tool", "tool:", "tool:a b", "tool:a:b", "a-tool:4", "tool@sha256:5"):
            (folder / name).mkdir()
        (folder / "tool:6").touch()
        assert [one.tag for one in images.tags(parse_reference("coffeateam/tool"))] == ["2", "1"]

    def test_none(self, images: ImageCatalogue) -> None:
        (images.root / DOCKER / "file").touch()
        for text in ("coffeateam/no", "no/no/no", "quay.io/a", "file/x"):
            assert images.tags(parse_reference(text)) == []


class TestWalk:
    def test_every_image_once(self, images: ImageCatalogue) -> None:
        found = list(images.walk())
        assert sorted(str(one) for one, _ in found) == sorted(IMAGES)
        assert all(path == images.root / str(one) for one, path in found)
        assert all(images.find(one) == (one, path) for one, path in found)

    def test_one_registry(self, images: ImageCatalogue) -> None:
        assert [one.name for one, _ in images.walk(GITLAB)] == [
            "group:1", "group/sub/tool:v1", "group/sub/deeper/tool:v2"
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "registry", ["quay.io", "..", "/etc", ".flat", "", f"{DOCKER}/library", "README"]
    )
    def test_no_such_registry(self, images: ImageCatalogue, registry: str) -> None:
        text = error_of(RegistryNotFoundError, images.walk, registry)
        assert text.splitlines()[0] == f"No images of the registry {registry!r} are below {images.root}."

    def test_registries(self, images: ImageCatalogue) -> None:
        (images.root / "linked.org").symlink_to("ghcr.io")
        (images.root / "dangling.org").symlink_to("gone")
        (images.root / "loop.org").symlink_to("loop.org")
        (images.root / "file.org").touch()
        (images.root / "lost+found").mkdir()
        assert images.registries() == ("ghcr.io", GITLAB, "linked.org", DOCKER)
        assert [str(one) for one, _ in images.walk("linked.org")] == [
            "linked.org/coffeateam/analysis:1.0", "linked.org/coffeateam/analysis:1.1"
        ]  # fmt: skip

    def test_never_into_an_image_or_what_is_hidden(
        self, images: ImageCatalogue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (images.root / "ghcr.io/plain:1/inside/x:1").mkdir(parents=True)
        (images.root / "ghcr.io/.hidden/x:1").mkdir(parents=True)
        looks = count_looks(monkeypatch)
        names = [str(one) for one, _ in images.walk("ghcr.io")]
        assert names[0] == "ghcr.io/plain:1"
        assert len(names) == 3
        assert looks == [str(images.root), f"{images.root}/ghcr.io", f"{images.root}/ghcr.io/coffeateam"]

    def test_what_is_no_image(self, images: ImageCatalogue) -> None:
        folder = images.root / "ghcr.io"
        for name in (
            ".hidden",
            ".hidden/a:1",
            "a:b:c",
            "x@sha256:0",
            "a b:1",
            ":1",
            "a:",
            "-a:1",
            "ä:1",
            "no",
        ):
            (folder / name).mkdir()
        (folder / "file:1").touch()
        (folder / os.fsdecode(b"\xff:1")).mkdir()
        (folder / "again").symlink_to("..")
        assert len(list(images.walk("ghcr.io"))) == 2

    def test_links_are_not_followed(self, images: ImageCatalogue) -> None:
        # Each image of CVMFS is a catalogue of its own: following its link would fetch it.
        (images.root / "ghcr.io/gone:1").symlink_to("../.flat/gone")
        assert "gone:1" in [one.name for one, _ in images.walk("ghcr.io")]

    def test_bounds(self, images: ImageCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
        deep = images.root / "deep.org" / "/".join("abcdefghijk")
        (deep / "last:1").mkdir(parents=True)
        (deep / "l/beyond:1").mkdir(parents=True)
        assert [one.name for one, _ in images.walk("deep.org")] == ["a/b/c/d/e/f/g/h/i/j/k/last:1"]
        many = images.root / "many.org"
        for number in range(50):
            (many / f"a{number}/b:1").mkdir(parents=True)
        assert len(list(images.walk("many.org"))) == 50
        monkeypatch.setattr(module, "MAX_ENTRIES", 100)
        assert len(list(images.walk("many.org"))) < 50

    def test_it_can_be_left(self, images: ImageCatalogue) -> None:
        assert len(list(islice(images.walk(), 2))) == 2


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> ImageCatalogue:
    root = tmp_path_factory.mktemp("thousand")
    for number in range(1000):
        registry = (DOCKER, GITLAB, "ghcr.io")[number % 3]
        publish(root, f"{registry}/team{number % 40}/image-{number % 200}:2024.{number}.0-py3.{number % 5}")
    return ImageCatalogue(root)


class TestThousandImages:
    def test_they_are_all_listed(self, thousand: ImageCatalogue) -> None:
        start = time.process_time()
        assert len({str(one) for one, _ in thousand.walk()}) == 1000
        assert time.process_time() - start < 1  # 20 ms when measured

    def test_with_one_look_a_directory(
        self, thousand: ImageCatalogue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looks = count_looks(monkeypatch)
        list(thousand.walk())
        assert len(looks) == len(set(looks)) == 1 + 3 + 3 * 40

    def test_the_nearest_of_them(self, thousand: ImageCatalogue) -> None:
        start = time.process_time()
        with pytest.raises(ImageNotFoundError) as caught:
            thousand.find(parse_reference("team3/image-03:2024.3.0-py3.3"))
        assert caught.value.nearest[0] == "team3/image-3:2024.3.0-py3.3"
        assert time.process_time() - start < 2


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each directory that is listed."""
    looks: list[str] = []
    real = os.scandir

    def scandir(path: str | Path) -> Any:
        looks.append(os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return looks


@pytest.mark.parametrize("root", ["/cvmfs/\0", 5])
def test_a_root_that_is_no_path(root: Any) -> None:
    with pytest.raises(ImageRootMissingError, match="it is no path"):
        ImageCatalogue(root)
