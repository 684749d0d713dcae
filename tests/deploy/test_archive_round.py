"""The whole round with a real archive: phantoms and real radiographs in, cohorts out of it, results back into it."""

import io
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medprior.cohort import Cohort
from medprior.phantom import PhantomSettings, generate_phantom_cohort
from tests.deploy.node.running import CALLER, NodeProcess, wait_until
from tests.deploy.servers import free_port
from tests.ingest.archive.archived_radiographs import CALLING_AET, list_urls
from tests.ingest.radiograph_files import read_files
from tests.ingest.test_killing import command, ended
from tests.orthanc import Modality, OrthancServer, store_files

PHANTOMS = 60
PROTOCOLS = ("dicomweb", "get", "move")
OBJECTS = {"seg": "SEG", "sr": "SR", "gsps": "PR"}
# What storescu proposes beside uncompressed little endian, by transfer syntax of the files.
SYNTAX_OPTIONS = {
    "1.2.840.10008.1.2.1.99": "-xd", "1.2.840.10008.1.2.2": "-xb", "1.2.840.10008.1.2.5": "-xr",
    "1.2.840.10008.1.2.4.50": "-xy", "1.2.840.10008.1.2.4.51": "-xx", "1.2.840.10008.1.2.4.57": "-xs",
    "1.2.840.10008.1.2.4.70": "-xs", "1.2.840.10008.1.2.4.80": "-xt", "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv", "1.2.840.10008.1.2.4.91": "-xw",
}  # fmt: skip
REAL_FOLDER = Path(__file__).parents[3] / "shared" / "data" / "dicom"


def list_real_radiographs() -> list[Path]:
    """Real DICOM radiographs, where this machine has them."""
    return sorted(REAL_FOLDER.glob("*.dcm"))


def save_archived_files(archive: OrthancServer, folder: Path) -> Path:
    """The archive's files as STUDY/SERIES/INSTANCE.dcm: one was stored without its file meta information."""
    for instance in archive.get("/instances"):
        content = archive.download(f"/instances/{instance}/file")
        header = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
        target = folder / header.StudyInstanceUID / header.SeriesInstanceUID / f"{header.SOPInstanceUID}.dcm"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def store_by_syntax(paths, port: int, aet: str) -> None:
    """Send files with storescu as they are, those of one transfer syntax at a time."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        meta = pydicom.dcmread(path, force=True, stop_before_pixels=True).file_meta
        groups.setdefault(SYNTAX_OPTIONS.get(str(meta.get("TransferSyntaxUID", "")), ""), []).append(path)
    for option, group in groups.items():
        store_files(group, port, aet, CALLER, *([option] if option else []))


def check_objects(archive: OrthancServer, paths) -> None:
    """Each object refers to one radiograph, lies in its study and names its patient; none is there twice."""
    sources = {}
    for path in paths:
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        sources[str(header.SOPInstanceUID)] = header
    for modality in OBJECTS.values():
        seen = Counter()
        for content in archive.read_instances(modality):
            made = pydicom.dcmread(io.BytesIO(content))
            (referred,) = set(re.findall(rb"[0-9.]{10,64}", content)) & {uid.encode() for uid in sources}
            source = sources[referred.decode()]
            assert made.StudyInstanceUID == source.StudyInstanceUID
            assert (made.PatientID or "") == (source.get("PatientID") or "")
            seen[referred.decode()] += 1
        assert set(seen.values()) == {1}, modality


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_from_the_archive_and_back_to_it(tmp_path):
    generate_phantom_cohort(tmp_path / "phantoms", PHANTOMS, 5, PhantomSettings(size=256, max_images=1), workers=2)
    paths = sorted((tmp_path / "phantoms").rglob("*.dcm"))
    assert len(paths) == PHANTOMS
    paths += list_real_radiographs()
    port = free_port()
    with OrthancServer(tmp_path / "archive", modalities=[Modality(CALLING_AET, port)]) as archive:
        store_by_syntax(paths, archive.port, archive.aet)
        assert archive.count_instances() == len(paths)
        ended(command(save_archived_files(archive, tmp_path / "in"), tmp_path / "local"))
        expected = read_files(tmp_path / "local")
        for protocol in PROTOCOLS:
            ended(command(list_urls(archive, port)[protocol], tmp_path / protocol))
            assert read_files(tmp_path / protocol) == expected, protocol
        accepted = len(Cohort.open(tmp_path / "local"))
        sent = run_node_round(tmp_path, archive, paths)
        assert sent == accepted
        check_objects(archive, paths)
    print(
        f"{len(paths)} radiographs, {len(paths) - PHANTOMS} of them real; {accepted} accepted; {', '.join(PROTOCOLS)}: "
        f"the bytes of the folder's cohort; {sent} times SEG, SR and GSPS in their studies"
    )


def run_node_round(folder: Path, archive: OrthancServer, paths) -> int:
    """Send all through a node that is killed, to an archive that is down for a while; how many were answered."""
    send_to = f"{archive.aet}@127.0.0.1:{archive.port}"
    options = ("--objects", ",".join(OBJECTS))
    half, dice = len(paths) // 2, np.random.default_rng(0)
    node = NodeProcess(folder, send_to, *options)
    store_by_syntax(paths[:half], node.port, "MEDPRIOR")
    archive.stop(kill=True)
    time.sleep(dice.uniform(2, 5))
    node.kill()
    node = NodeProcess(folder, send_to, *options)
    store_by_syntax(paths[half:], node.port, "MEDPRIOR")
    wait_until(lambda: 'queue{folder="incoming"} 0.0' in node.read_metrics())
    assert node.read_metrics().count('queue{folder="outgoing"} 0.0') == 0  # nothing was sent meanwhile
    archive.start()
    wait_until(lambda: 'queue{folder="outgoing"} 0.0' in node.read_metrics())
    metrics = node.read_metrics()
    assert 'queue{folder="failed"} 0.0' in metrics
    assert node.end() == 0
    counts = {archive.count_instances(modality) for modality in OBJECTS.values()}
    (count,) = counts
    return count
