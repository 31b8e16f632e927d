"""Links are followed as in the container, nothing outside the image is opened, everything is bounded."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import tempfile
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from tests.support.image_trees import Fifo, Link, as_nobody, make, watched

from htcdaskgateway.images.errors import ImageUnusableError
from htcdaskgateway.images.file_errors import is_absent
from htcdaskgateway.images.files import ImageFiles
from htcdaskgateway.images.inside import MAX_DEPTH, MAX_OPEN

CANARY = "what no image may read"


@pytest.mark.parametrize(
    ("path", "real"),
    [
        ("/usr/bin/x", "/usr/bin/x"),
        ("usr//bin/./x", "/usr/bin/x"),
        ("/bin/x", "/usr/bin/x"),
        ("/bin/../lib/y", "/usr/lib/y"),  # above what the link leads to, not above /bin
        ("/../../usr/bin/x", "/usr/bin/x"),
        ("/absolute", "/usr/lib/y"),
        ("/far", "/usr/bin/x"),
        ("/", "/"),
        ("", "/"),
        ("/usr/..", "/"),
    ],
)
def test_paths_are_the_container_s(tmp_path: Path, path: str, real: str) -> None:
    tree = {
        "usr/bin/x": "x",
        "usr/lib/y": "y",
        "bin": Link("usr/bin"),
        "absolute": Link("/usr/lib/y"),
        "far": Link("../../../../../../../../../../bin/x"),
    }
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        assert files.resolve(path) == real


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../outside/canary", "{outside}/canary", "/proc/self/root/etc"]
)
def test_no_link_leads_out(tmp_path: Path, target: str) -> None:
    make(tmp_path / "outside", {"canary": CANARY})
    link = Link(target.format(outside=tmp_path / "outside"))
    with ImageFiles(make(tmp_path / "image", {"link": link, "dir": Link("..")})) as files:
        with pytest.raises(FileNotFoundError):
            files.read("/link", 100)
        assert not files.exists("/link")
        assert files.names("/dir") == files.names("/") != []


def test_an_absolute_link_means_the_image_s_root(tmp_path: Path) -> None:
    tree = {"etc/passwd": "the image's", "link": Link("/etc/passwd")}
    with ImageFiles(make(tmp_path / "image", tree)) as files:
        assert files.read("/link", 100) == b"the image's"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/no", errno.ENOENT),
        ("/file/x", errno.ENOTDIR),
        ("/file/..", errno.ENOTDIR),
        ("/file/.", errno.ENOTDIR),
        ("/file/", errno.ENOTDIR),
        ("/loop", errno.ELOOP),
        ("/loop/x", errno.ELOOP),
        ("/two", errno.ELOOP),
        ("/dangling", errno.ENOENT),
        ("/nul\0", errno.ENOENT),
        ("/odd\ud800", errno.ENOENT),
        ("/" + "x" * 300, errno.ENAMETOOLONG),
        ("/" + "x/" * 3000, errno.ENOENT),
        ("/deep" + "/d" * MAX_DEPTH, errno.ENAMETOOLONG),
    ],
)
def test_what_is_absent(tmp_path: Path, path: str, number: int) -> None:
    tree = {
        "file": "",
        "loop": Link("loop"),
        "two": Link("/owt"),
        "owt": Link("two"),
        "dangling": Link("/gone"),
    }
    make(tmp_path / "image", {**tree, "deep" + "/d" * (MAX_DEPTH + 1): None})
    with ImageFiles(tmp_path / "image") as files:
        for _ in range(2):  # the second time from memory
            with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at below
                files.read(path, 10)
            assert (caught.value.errno, caught.value.filename) == (number, path)
            assert is_absent(caught.value)
        assert not files.exists(path)
        assert not files.is_file(path)
        assert not files.is_directory(path)


def test_as_many_links_as_linux_follows(tmp_path: Path) -> None:
    root = make(tmp_path / "image", {"0": "end", **{str(n): Link(str(n - 1)) for n in range(1, 43)}})
    with ImageFiles(root) as files:
        for path in map(str, range(43)):
            try:
                expected = (root / path).read_bytes()
            except OSError:
                expected = None
            assert (files.read(path, 10) if files.exists(path) else None) == expected
        assert not files.exists("42")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    make(tmp_path / "image", {"fifo": Fifo(), "directory": None, "link": Link("fifo")})
    with ImageFiles(tmp_path / "image") as files, watched() as watch:
        for path in ("/fifo", "/link", "/directory", "/"):
            with pytest.raises(OSError, match=r"Not a regular file|Is a directory"):
                files.read(path, 10)
        with pytest.raises(NotADirectoryError):
            files.names("/fifo")
    assert not watch.opened


def test_a_file_that_becomes_a_link_or_a_fifo_is_not_read(tmp_path: Path) -> None:
    make(tmp_path / "outside", {"canary": CANARY})
    root = make(tmp_path / "image", {"one": "1", "two": "2", "three/canary": "3"})
    with ImageFiles(root) as files:
        assert all(files.exists(path) for path in ("/one", "/two", "/three"))
        (root / "one").unlink()
        (root / "one").symlink_to(tmp_path / "outside" / "canary")
        (root / "two").unlink()
        os.mkfifo(root / "two")
        (root / "three").rename(root / "four")
        (root / "three").symlink_to(tmp_path / "outside")
        for path in ("/one", "/two", "/three/canary"):
            with pytest.raises(OSError):  # noqa: PT011 - each for another reason
                files.read(path, 10)


def test_a_limit_cuts(tmp_path: Path) -> None:
    with ImageFiles(make(tmp_path / "image", {"file": "0123456789"})) as files:
        assert files.read("/file", 4) == b"0123"
        assert files.read("/file", 0) == b""
        assert files.read("/file", 100) == b"0123456789"
        assert files.size("/file") == 10


@pytest.mark.parametrize(
    ("bound", "what"), [("max_steps", "look"), ("max_entries", "list"), ("max_bytes", "read")]
)
def test_bounds_hold_over_all_calls(tmp_path: Path, bound: str, what: str) -> None:
    root = make(tmp_path / "image", {f"{name}/file": "0123456789" for name in "abcdef"})

    def look_around(**bounds: int) -> None:
        with ImageFiles(root, **bounds) as files:
            for name in files.names("/"):
                files.read(f"/{name}/file", 10)

    look_around(max_steps=100, max_entries=6, max_bytes=60)
    with pytest.raises(
        ImageUnusableError, match=rf"{root} cannot be used: there is too much to {what} in it"
    ):
        look_around(**{bound: 5})


def test_few_directories_are_open_at_once_and_none_at_the_end(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    root = make(tmp_path / "image", {f"{n}/a/b/file": str(n) for n in range(MAX_OPEN)})
    before = descriptors()
    with ImageFiles(root) as files:
        for _ in range(2):
            for n in range(MAX_OPEN):
                assert files.read(f"/{n}/a/b/file", 10) == str(n).encode()
            assert descriptors() - before <= MAX_OPEN + 5
    assert descriptors() == before
    with pytest.raises(RuntimeError, match="closed"):
        files.read("/new", 1)


def test_what_was_looked_up_is_not_looked_up_again(tmp_path: Path) -> None:
    root = make(tmp_path / "image", {"usr/lib/x": "", "lib": Link("/usr/lib")})
    with ImageFiles(root) as files, watched() as watch:
        assert files.is_file("/lib/x")
        assert watch.looks <= 8
        before = watch.looks
        for _ in range(100):
            assert files.is_file("/lib/x")
            assert not files.is_program("/usr/lib/x")
        assert watch.looks == before


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone", "No such file or directory"),
        ("file", "it is not a directory"),
        ("dangling", "it is a link to 'nowhere', which is not there"),
        ("loop", "its links form a loop (Too many levels of symbolic links)"),
        ("closed", "this account may not read it (Permission denied)"),
        ("nul\0", "embedded null byte"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_is_no_image(tmp_path: Path, name: str, why: str) -> None:
    make(tmp_path, {"file": "", "dangling": Link("nowhere"), "loop": Link("loop"), "closed": None})
    (tmp_path / "closed").chmod(0o600)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path's opens one
    with as_nobody(tmp_path), pytest.raises(ImageUnusableError) as caught:
        ImageFiles(tmp_path / name)
    assert str(caught.value) == f"The image {tmp_path / name} cannot be used: {why}."
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - Path's opens one


def test_what_this_account_may_not_see(tmp_path: Path) -> None:
    root = make(tmp_path / "image", {"closed/file": "", "unlisted/file": "x", "secret": "", "open/file": ""})
    (root / "closed").chmod(0o600)
    (root / "unlisted").chmod(0o711)
    (root / "secret").chmod(0o000)
    with as_nobody(tmp_path), ImageFiles(root) as files:
        assert not files.is_file("/closed/file")  # as a shell that goes through PATH
        assert files.denied == {"/closed"}
        assert files.read("/unlisted/file", 10) == b"x"
        for call in (lambda: files.names("/unlisted"), lambda: files.read("/secret", 1)):
            with pytest.raises(PermissionError) as caught:
                call()
            assert caught.value.filename in ("/unlisted", "/secret")


# Random trees, beside what the kernel makes of them.

NAMES = st.sampled_from(["a", "b", "c"])
PLACES = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
TARGETS = st.builds(
    lambda start, parts, end: start + "/".join(parts) + end or ".",
    st.sampled_from(
        ["", "", "/", "//", "{outside}/", "../", "../../outside/", "/proc/self/root/", "/proc/self/fd/0/"]
    ),
    st.lists(st.sampled_from(["a", "b", "c", "..", ".", "", "canary"]), min_size=1, max_size=5),
    st.sampled_from(["", "", "/"]),
)
LINKS = st.tuples(PLACES, TARGETS)
ASKED = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), max_size=7).map("/".join)


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def resolved_by_kernel(root: Path, path: str) -> str | int:
    """Give the path as seen from the root, or the number of the error: openat2 with RESOLVE_IN_ROOT."""
    libc = ctypes.CDLL(None, use_errno=True)
    top = os.open(root, os.O_PATH)
    try:
        how = _How(os.O_PATH, 0, 0x10)
        found = libc.syscall(437, top, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        if found < 0:
            return ctypes.get_errno()
        try:
            return "/" + os.path.relpath(
                Path(f"/proc/self/fd/{found}").readlink(), os.path.realpath(root)
            ).strip(".")
        finally:
            os.close(found)
    finally:
        os.close(top)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the number of the system call")
@given(
    directories=st.lists(PLACES, max_size=5),
    texts=st.lists(PLACES, max_size=4),
    links=st.lists(LINKS, max_size=8),
    asked=st.lists(ASKED, min_size=1, max_size=12),
)
def test_any_tree_is_seen_as_the_kernel_sees_it(
    directories: list[str], texts: list[str], links: list[tuple[str, str]], asked: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory).resolve()
        outside = make(top / "outside", {"canary": CANARY, "a/canary": CANARY, "canary.d/canary": CANARY})
        root = make(top / "image", {})
        for name, target in links:
            put(root / name, lambda path, target=target: path.symlink_to(target.format(outside=outside)))
        for name in directories:
            put(root / name, lambda path: path.mkdir())
        for name in texts:
            put(root / name, lambda path: path.write_text("inside"))
        os.mkfifo(root / "fifo")
        with watched() as watch, ImageFiles(root) as files:
            seen = {path: look(files, path) for path in (*asked, *texts, *dict(links), "fifo")}
        assert all(path == str(root) or path.startswith(f"{root}/") for path in watch.opened)
        for path, (real, content) in seen.items():
            expected = resolved_by_kernel(root, path or ".")
            assert real == expected, path
            assert CANARY.encode() not in content
            event("a file" if content else "an error" if isinstance(real, int) else "a directory")


def look(files: ImageFiles, path: str) -> tuple[str | int, bytes]:
    try:
        real = files.resolve(path)
    except OSError as error:
        return error.errno or -1, b""
    content = b""
    if files.is_directory(path):
        assert all(files.resolve(f"{path}/.") for _ in files.names(path))
    elif files.is_file(path):
        content = files.read(path, 100)
        assert content == b"inside"
    return real, content


def put(path: Path, how: object) -> None:
    """Make something, where its parents can be made within the tree without going through links."""
    assert callable(how)
    for parent in reversed(path.parents):
        if parent.is_symlink() or (parent.exists() and not parent.is_dir()):
            return
        parent.mkdir(exist_ok=True)
    if not os.path.lexists(path):
        how(path)
