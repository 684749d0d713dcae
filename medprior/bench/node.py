"""Loads the DICOM node: many images over several associations, with hostile peers among them."""

from __future__ import annotations

import argparse
import contextlib
import io
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from medprior.bench.deploy import measure_memory_mib
from medprior.deploy.inference.example import create_example_dicom

if TYPE_CHECKING:
    from pynetdicom.events import Event

NODE_IMAGES, NODE_ASSOCIATIONS, NODE_HOSTILE = 1000, 8, 300
WARM_UP_IMAGES = 160  # threads, their memory and libraries are there before growth is measured
PICTURES, SIDE_PX = 8, 512
CALLER, ARCHIVE = "BENCH", "ARCHIVE"
MAX_NODE_GROWTH_MIB = 50
LONGEST_WAIT_SECONDS = 7200


def parse_node_options(options: Sequence[str]) -> dict[str, int]:
    """Parse the options of `medprior bench node`."""
    parser = argparse.ArgumentParser(prog="medprior bench node", description="load of the DICOM node")
    parser.add_argument("--images", type=int, default=NODE_IMAGES)
    parser.add_argument("--associations", type=int, default=NODE_ASSOCIATIONS)
    parser.add_argument("--hostile", type=int, default=NODE_HOSTILE, help="broken connections and files, in turns")
    return vars(parser.parse_args(options))


class RecordingArchive:
    """A C-STORE archive in this process that keeps the time of each segmentation and counts what came twice."""

    def __init__(self) -> None:
        from pynetdicom import AE, AllStoragePresentationContexts, evt

        self.arrivals: dict[str, float] = {}
        self.repeated = 0
        entity = AE(ARCHIVE)
        entity.supported_contexts = AllStoragePresentationContexts
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store)]
        server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.port: int = server.server_address[1]

    def _store(self, event: Event) -> int:
        dataset = event.dataset
        source = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
        self.repeated += source in self.arrivals
        self.arrivals[source] = time.monotonic()
        return 0


@contextlib.contextmanager
def run_node_process(folder: Path, archive_port: int) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The node as a process and its port; it sends segmentations."""
    command = [
        sys.executable, "-m", "medprior", "node", "--port", "0", "--http-port", "0", "--known", CALLER,
        "--send-to", f"{ARCHIVE}@127.0.0.1:{archive_port}", "--objects", "seg", "--queue", str(folder / "queue"),
    ]  # fmt: skip
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        address = process.stdout.readline() if process.stdout else ""
        if not address:
            raise RuntimeError((folder / "log.txt").read_text())
        yield process, int(address.partition(",")[0].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(60)


def send_images(port: int, pictures: Sequence[Dataset], count: int, sent: dict[str, float]) -> None:
    """Send `count` images over one association; each has a UID of its own, whose time of arrival is kept."""
    from pynetdicom import AE

    entity = AE(CALLER)
    entity.add_requested_context(pictures[0].SOPClassUID)
    association = entity.associate("127.0.0.1", port, ae_title="MEDPRIOR")
    for number in range(count):
        dataset = pictures[number % len(pictures)]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        status = association.send_c_store(dataset)
        if status.get("Status") != 0:
            raise RuntimeError(f"an image was refused: {status.get('Status')}")
        sent[dataset.SOPInstanceUID] = time.monotonic()
    association.release()


def send_hostile_input(port: int, count: int, content: bytes) -> None:
    """Break the protocol and send broken files, in turns.

    Args:
        port: of the node.
        count: number of inputs.
        content: a sound DICOM file, which the broken files are made from.
    """
    noise = np.random.default_rng(0).bytes(2000)
    inputs = (b"", b"GET / HTTP/1.1\r\n\r\n", noise, struct.pack(">BBL", 1, 0, 2**32 - 1) + noise, b"\x01\0\0")
    for number in range(count):
        if number % 2:
            send_broken_file(port, content, number // 2)
            continue
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(inputs[number // 2 % len(inputs)])


def send_broken_file(port: int, content: bytes, number: int) -> None:
    """Send a file whose pixels are cut short, of another number, of another depth, or missing, over one association."""
    from pynetdicom import AE

    dataset = dcmread(io.BytesIO(content))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    match number % 4:
        case 0:
            dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4 * 2]
        case 1:
            dataset.Rows = dataset.Columns = 65535
        case 2:
            dataset.BitsStored, dataset.HighBit = 1, 60
        case _:
            del dataset.PixelData
    entity = AE(CALLER)
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port, ae_title="MEDPRIOR")
    if association.is_established:
        association.send_c_store(dataset)
        association.release()


def main(images: int = NODE_IMAGES, associations: int = NODE_ASSOCIATIONS, hostile: int = NODE_HOSTILE) -> None:
    """Print latency from arrival to the segmentation in the archive, what was lost or doubled, and memory growth."""
    archive, sent = RecordingArchive(), dict[str, float]()
    contents = [create_example_dicom(seed=seed, side=SIDE_PX) for seed in range(PICTURES)]
    with tempfile.TemporaryDirectory(prefix="medprior-") as name, run_node_process(Path(name), archive.port) as running:
        node, port = running
        send_and_wait(archive, sent, port, contents, WARM_UP_IMAGES, associations)
        before = measure_memory_mib(node.pid)["server"]
        measured: dict[str, float] = {}
        attack = threading.Thread(target=send_hostile_input, args=(port, hostile, contents[0]), daemon=True)
        attack.start()
        start = time.monotonic()
        send_and_wait(archive, measured, port, contents, images, associations)
        seconds = time.monotonic() - start
        attack.join()
        growth = measure_memory_mib(node.pid)["server"] - before
        is_alive = node.poll() is None
    waits = [archive.arrivals[uid] - moment for uid, moment in measured.items()]
    p50, p95 = statistics.median(waits), float(np.quantile(waits, 0.95))
    print(f"{images} images of {SIDE_PX} px over {associations} associations, {hostile} hostile inputs among them:")
    print(
        f"  from arrival to the segmentation in the archive: p50 {p50:.2f} s, p95 {p95:.2f} s; {images / seconds:.2f}/s"
    )
    print(f"  lost 0, twice {archive.repeated}; node {'alive' if is_alive else 'dead'}")
    print(
        f"  memory of the node: {before:.0f} MiB after {WARM_UP_IMAGES} images, growth {growth:.0f} MiB, "
        f"target < {MAX_NODE_GROWTH_MIB}"
    )


def send_and_wait(
    archive: RecordingArchive, sent: dict[str, float], port: int, contents: Sequence[bytes], count: int, parallel: int
) -> None:
    """Send images over parallel associations and wait until the archive has a segmentation of each.

    Raises:
        RuntimeError: one is missing after two hours.
    """
    threads = []
    for number in range(parallel):
        share = count // parallel + (number < count % parallel)
        pictures: list[Any] = [dcmread(io.BytesIO(content)) for content in contents]
        threads.append(threading.Thread(target=send_images, args=(port, pictures, share, sent)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(sent) != count:
        raise RuntimeError(f"{count - len(sent)} of {count} images were not taken")
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while not sent.keys() <= archive.arrivals.keys():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(sent.keys() - archive.arrivals.keys())} of {count} segmentations are missing")
        time.sleep(0.1)
