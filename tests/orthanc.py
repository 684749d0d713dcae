"""A real archive for tests: Orthanc with its DICOMweb plugin on free ports, and DCMTK as its other side."""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from tests.deploy.servers import free_port

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
REQUIRED = "MEDPRIOR_REQUIRE_ORTHANC"  # set where a skipped test would hide a fault
START_SECONDS = 60


class Modality(NamedTuple):
    """A node that an archive may send to."""

    aet: str
    port: int
    host: str = "127.0.0.1"


def require_orthanc() -> None:
    """Skip the test where Orthanc, its plugin or DCMTK is missing; fail it where they are required."""
    missing = [name for name in ("Orthanc", "storescu", "storescp") if find_program(name) is None]
    missing += [] if PLUGIN.exists() else [str(PLUGIN)]
    if not missing:
        return
    reason = f"not installed: {', '.join(missing)} (apt-get install orthanc orthanc-dicomweb dcmtk)"
    if os.environ.get(REQUIRED):
        pytest.fail(reason)
    pytest.skip(reason)


def find_program(name: str) -> str | None:
    """Path of a program; Orthanc stands where only root looks."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")


class OrthancServer:
    """One archive; its storage and its ports stay over `stop` and `start`.

    ```python
    with OrthancServer(tmp_path / "archive", modalities=[Modality("MEDPRIOR", port)]) as archive:
        archive.store([path])
        archive.count_instances()
    ```

    Args:
        folder: holds its storage, configuration and log.
        aet: its AE title.
        modalities: nodes that it knows: C-MOVE to them works.
        users: name -> password; with any, HTTP asks for one of them.
        settings: further Orthanc settings.
    """

    def __init__(
        self,
        folder: Path,
        aet: str = "ORTHANC",
        modalities: Sequence[Modality] = (),
        users: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        require_orthanc()
        self.folder, self.aet, self.users = folder, aet, dict(users or {})
        self.port, self.http_port = free_port(), free_port()
        self.log = folder / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.configuration = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.http_port,
            "DicomPort": self.port,
            "DicomAet": aet,
            "DicomCheckCalledAet": True,
            "DicomServerEnabled": True,
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "UnknownSopClassAccepted": True,  # label-map segmentations are younger than this Orthanc
            "DicomModalities": {modality.aet: [modality.aet, modality.host, modality.port] for modality in modalities},
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": bool(self.users),
            "RegisteredUsers": self.users,
            "OverwriteInstances": False,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **settings,
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def rest_url(self) -> str:
        """Root of Orthanc's own interface."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        """Root of QIDO-RS, WADO-RS and STOW-RS."""
        return f"{self.rest_url}/dicom-web"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(self.configuration))
        with self.log.open("ab") as out:
            command = [find_program("Orthanc") or "", str(file)]
            self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                self.get("/system")
                return
            written = self.log.read_text(errors="replace")[-2000:]
            assert self.process.poll() is None, f"Orthanc ended: {written}"
            assert time.monotonic() < deadline, f"Orthanc did not start: {written}"
            time.sleep(0.1)

    def stop(self, kill: bool = False) -> None:
        """End it, in order or by a kill -9; it may be stopped already."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=20)
        self.process = None

    def get(self, path: str) -> Any:
        """The JSON answer of Orthanc's own interface, such as of `/studies`."""
        return json.loads(self.download(path))

    def download(self, path: str) -> bytes:
        """The bytes that Orthanc's own interface answers."""
        request = urllib.request.Request(self.rest_url + path)
        for name, password in list(self.users.items())[:1]:
            token = base64.b64encode(f"{name}:{password}".encode()).decode("ascii")
            request.add_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: bytes = answer.read()
        return content

    def count_instances(self, modality: str = "") -> int:
        """How many instances it holds; of one modality, such as SEG, where one is named."""
        if not modality:
            return int(self.get("/statistics")["CountInstances"])
        return sum(len(series["Instances"]) for series in self.list_series(modality))

    def list_series(self, modality: str) -> list[dict[str, Any]]:
        """Orthanc's records of its series of one modality."""
        series: list[dict[str, Any]] = self.get("/series?expand")
        return [one for one in series if one["MainDicomTags"].get("Modality") == modality]

    def read_instances(self, modality: str) -> list[bytes]:
        """The files of all instances of one modality."""
        identifiers = sorted(instance for series in self.list_series(modality) for instance in series["Instances"])
        return [self.download(f"/instances/{identifier}/file") for identifier in identifiers]

    def store(self, paths: Sequence[Path], calling: str = "STORESCU") -> None:
        """Send files to it over one association of DCMTK's `storescu`."""
        store_files(paths, self.port, self.aet, calling)


def store_files(paths: Sequence[Path], port: int, aet: str, calling: str = "STORESCU", *options: str) -> None:
    """Send files to a node on this machine with `storescu`.

    Raises:
        subprocess.CalledProcessError: the node refused the association or a file.
    """
    command = [find_program("storescu") or "storescu", "-aet", calling, "-aec", aet, *options]
    files = [str(path) for path in paths]
    subprocess.run([*command, "127.0.0.1", str(port), *files], check=True, capture_output=True, timeout=600)
