"""Nodes for tests: in this process, or as the command that users start."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom

from medprior.deploy.inference.example import create_example_dicom
from medprior.deploy.node.destinations import parse_destination
from medprior.deploy.node.node import Node
from medprior.deploy.node.settings import NodeSettings
from medprior.dicom.bounded_reader import BoundedReader
from tests.orthanc import OrthancServer

CANARY = "CNRYNODE"
CALLER = "STORESCU"
QUICK = {"port": 0, "http_port": 0, "known": (CALLER,), "first_wait_seconds": 0.2, "longest_wait_seconds": 1.0}


def write_radiographs(folder: Path, count: int, side: int = 256) -> list[Path]:
    """Phantom files of different patients, with canaries in their texts."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in range(count):
        path = folder / f"{seed:04d}.dcm"
        path.write_bytes(create_example_dicom(seed=seed, side=side))
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientID = f"{CANARY}^NAME{seed}", f"{CANARY}ID{seed}"
        dataset.AccessionNumber, dataset.StudyDescription = f"{CANARY}A{seed}", f"{CANARY} STUDY"
        dataset.PatientBirthDate = "19370519"
        dataset.save_as(path)
        paths.append(path)
    return paths


@contextlib.contextmanager
def run_local_node(folder: Path, predictor, send_to: str, tls=None, **settings) -> Iterator[Node]:
    """A node in this process."""
    values = NodeSettings.from_values({**QUICK, **settings})
    with BoundedReader() as reader:
        node = Node(folder, predictor, reader, parse_destination(send_to, values.aet), values, tls)
        node.start()
        try:
            yield node
        finally:
            node.close()


class NodeProcess:
    """`medprior node` as a process, on a queue that outlives it."""

    def __init__(self, folder: Path, send_to: str, *options: str) -> None:
        self.folder, self.log = folder / "queue", folder / "log.txt"
        command = [
            sys.executable, "-m", "medprior", "node", "--port", "0", "--http-port", "0", "--send-to", send_to,
            "--known", CALLER, "--queue", str(self.folder), *options,
        ]  # fmt: skip
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        address, metrics = self.process.stdout.readline(), self.process.stdout.readline()
        assert metrics, self.log.read_text()
        self.port = int(address.partition(",")[0].rpartition(":")[2])
        self.metrics_url = metrics.split()[-1]

    def read_metrics(self) -> str:
        return urllib.request.urlopen(self.metrics_url, timeout=30).read().decode()

    def kill(self) -> None:
        """Kill -9; its queue stays."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=300)

    def end(self) -> int:
        """SIGTERM; returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=300)
        return self.process.returncode


def wait_until(is_done: Callable[[], bool], seconds: float = 600) -> None:
    """Wait for a state, or fail."""
    deadline = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < deadline, "not reached in time"
        time.sleep(0.2)


def count_objects(archive: OrthancServer) -> dict[str, int]:
    """How many SEG, SR, presentation states and captures the archive holds."""
    return {kind: archive.count_instances(kind) for kind in ("SEG", "SR", "PR", "OT")}
