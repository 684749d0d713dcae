"""What lies in an archive's folders besides files with good names."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.corpus.case import dicom, element, inserted, stored

READ = frozenset({""})
NO_FILE = frozenset({"not_a_file"})


def picture(seed: int) -> bytes:
    """A good file of its own."""
    values = stored(seed=seed)
    return dicom(values, SOPInstanceUID=f"1.2.3.{seed}", PatientID=f"patient {seed}")


def named(folder: Path, name: bytes | str, seed: int) -> Path:
    """A good file under an odd name."""
    path = folder / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(seed))
    return path


def names() -> dict[str, bytes | str]:
    """Odd names of good files."""
    return {
        "no_extension": "IMG0001", "upper": "A.DCM", "blanks": " a b .dcm ",
        "unicode": "山田^太郎.dcm",
        "not_utf8": b"caf\xe9\xff.dcm", "newline": "a\nb.dcm", "tab": "a\tb", "quote": "a\"'b.dcm",
        "shell": "$(touch PWNED);`id`.dcm", "dash": "-rf.dcm", "long": "n" * 251 + ".dcm",
        "formula": "=cmd|' /C calc'!A0.dcm", "comma": "a,b,c.dcm", "hidden": ".hidden.dcm",
        "wrong_extension": "picture.txt", "png_extension": "picture.png", "html": "<b>x<b>.dcm",
        "percent": "%s%n%00.dcm", "dots": "...dcm", "deep": "/".join(["d"] * 60) + "/a.dcm",
        "folder_dcm": "x.dcm/inner.dcm", "control": b"a\x01\x1b[31mb.dcm", "rtl": "a\u202egpj.dcm",
        "backslash": "a\\b.dcm",
    }  # fmt: skip


def others(folder: Path, outside: Path) -> dict[str, tuple[Path, frozenset[str]]]:
    """Name -> path and the codes of which one must come ('' is: read)."""
    made: dict[str, tuple[Path, frozenset[str]]] = {}

    def put(name: str, act: Callable[[Path], object], *codes: str) -> None:
        path = folder / name
        with suppress(PermissionError):
            act(path)
            made[name] = (path, frozenset(codes))

    good = named(folder, "good", 1000)
    made["good"] = (good, READ)
    elsewhere = named(outside, "elsewhere.dcm", 1001)
    put("link_inside", lambda p: p.symlink_to(good), *NO_FILE)
    put("link_outside", lambda p: p.symlink_to(elsewhere), *NO_FILE)
    put("link_broken", lambda p: p.symlink_to(folder / "absent"), *NO_FILE)
    put("link_loop", lambda p: p.symlink_to(p), *NO_FILE)
    put("link_zero", lambda p: p.symlink_to("/dev/zero"), *NO_FILE)
    put("link_parent", lambda p: p.symlink_to(folder, True), *NO_FILE)
    put("link_folder", lambda p: p.symlink_to(outside, True), *NO_FILE)
    put("link_proc", lambda p: p.symlink_to("/proc/self/mem"), *NO_FILE)
    put("pipe", os.mkfifo, *NO_FILE)
    put("device", lambda p: os.mknod(p, stat.S_IFCHR | 0o666, os.makedev(1, 5)), *NO_FILE)
    with socket.socket(socket.AF_UNIX) as unix:
        here = Path.cwd()
        os.chdir(folder)
        unix.bind("socket")
        os.chdir(here)
    made["socket"] = (folder / "socket", NO_FILE)
    put("hard_link", lambda p: p.hardlink_to(good), "")
    put("copy", lambda p: p.write_bytes(good.read_bytes()), "")
    put("empty", lambda p: p.write_bytes(b""), "empty")
    put("sparse", lambda p: sparse(p, 2**31), "too_large")
    put("sparse_small", lambda p: sparse(p, 2**29), "not_dicom")
    put("unreadable", unreadable, "", "unreadable")
    put("._good", lambda p: p.write_bytes(b"\x00\x05\x16\x07" + bytes(400)), "not_dicom")
    put(".DS_Store", lambda p: p.write_bytes(b"\0\0\0\1Bud1" + bytes(400)), "not_dicom")
    put("Thumbs.db", lambda p: p.write_bytes(b"\xd0\xcf\x11\xe0" + bytes(400)), "not_dicom")
    put("DICOMDIR", lambda p: p.write_bytes(directory()), "sop_class")
    put("report.html", lambda p: p.write_bytes(b"<html>" * 40), "not_dicom")
    return made


def sparse(path: Path, size: int) -> None:
    """A file of zeros that takes no room."""
    with path.open("wb") as file:
        file.truncate(size)


def unreadable(path: Path) -> None:
    path.write_bytes(picture(1002))
    path.chmod(0)


def directory() -> bytes:
    """A DICOMDIR that names a file outside."""
    data = dicom(SOPClassUID="1.2.840.10008.1.3.10")
    return inserted(data, element(0x00041500, "CS", b"..\\..\\ETC\\PASSWD "), 0x00080016)
