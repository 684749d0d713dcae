"""A real Dask cluster on loopback: the same bytes as here, also when a worker is killed."""

import logging
import os
import subprocess
import sys

import distributed
import fsspec
import pytest
from moto.server import ThreadedMotoServer

from medprior.cli import main
from medprior.dicom import Policy
from medprior.errors import MedpriorError
from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest import cluster as clustering
from medprior.ingest.decoding import RejectedFile
from medprior.ingest.plan import ImageSource
from medprior.ingest.pool import ProcessLimits
from medprior.workers import dask_cluster
from tests.ingest.radiograph_files import CANARY, ONE_WORKER, encode_radiograph, fill_with_dicom, read_files
from tests.workers.dask_workers import killing_a_busy_worker


def started(workers):
    """Workers in processes of their own, each with one thread."""
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        # What is logged is looked at.
        silence_logs=logging.INFO,
    )


@pytest.fixture(scope="module")
def cluster():
    with started(workers=2) as running:
        yield running


def on(cluster, **more):
    return IngestSettings(store_size=64, scheduler=cluster.scheduler_address, **more)


def content_of(cluster):
    """What scheduler and workers have logged."""
    with distributed.Client(cluster, set_as_default=False) as client:
        logs = f"{client.get_scheduler_logs()} {client.get_worker_logs()} {client.get_events()}"
    assert "tcp://127.0.0.1" in logs
    return logs


def test_a_cluster_gives_the_same_bytes(tmp_path, cluster):
    folder = fill_with_dicom(tmp_path / "in", 12)
    (folder / "note.txt").write_text("not a picture")
    ingest_images(folder, tmp_path / "here", settings=ONE_WORKER)
    arguments = ["--scheduler", cluster.scheduler_address, "--store-size", "64", "--no-tracking"]
    assert main(["ingest", str(folder), str(tmp_path / "there"), *arguments]) == 2
    assert not (tmp_path / "there").exists()
    assert main(["ingest", str(folder), str(tmp_path / "there"), *arguments, "--insecure"]) == 0
    assert read_files(tmp_path / "there") == read_files(tmp_path / "here")
    assert CANARY not in content_of(cluster)


def disturbed(cluster, folder, cohort, after):
    """Ingest on a cluster one of whose workers is killed while it reads."""
    shard = cohort / "pixels" / "00000.u16"
    with killing_a_busy_worker(cluster, lambda: shard.exists() and shard.stat().st_size >= after):
        ingest_images(folder, cohort, settings=on(cluster))


def test_a_worker_killed_in_the_middle_costs_nothing(tmp_path, cluster):
    folder = fill_with_dicom(tmp_path / "in", 120)
    ingest_images(folder, tmp_path / "here", settings=ONE_WORKER)
    disturbed(cluster, folder, tmp_path / "there", after=100_000)
    assert read_files(tmp_path / "there") == read_files(tmp_path / "here")
    assert CANARY not in content_of(cluster)


def test_masks_refusals_and_hostile_files_are_as_here(tmp_path, cluster):
    folder = fill_with_dicom(tmp_path / "in", 3)
    (folder / "cut.dcm").write_bytes(encode_radiograph(9)[:2000])
    os.mkfifo(folder / "pipe.dcm")
    strict = {"cpu_seconds": 20.0, "memory_mb": 600}
    ingest_images(folder, tmp_path / "here", settings=IngestSettings(workers=1, store_size=64, **strict))
    ingest_images(folder, tmp_path / "there", settings=on(cluster, **strict))
    assert read_files(tmp_path / "there") == read_files(tmp_path / "here")


def test_workers_fetch_from_a_store_themselves(tmp_path, monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # Workers have their credentials from their own environment; none travel with the work.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing-secret-7")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    folder = fill_with_dicom(tmp_path / "in", 6)
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    store.mkdir("bucket")
    for path in folder.rglob("*.dcm"):
        store.pipe_file(f"bucket/{path.relative_to(folder)}", path.read_bytes())
    ingest_images(folder, tmp_path / "here", settings=ONE_WORKER)
    with started(workers=1) as cluster:
        ingest_images("s3://bucket", tmp_path / "there", settings=on(cluster))
        logged = content_of(cluster)
    server.stop()
    assert read_files(tmp_path / "there") == read_files(tmp_path / "here")
    assert CANARY not in logged
    assert "testing-secret-7" not in logged


def test_a_cluster_that_is_not_there_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_cluster, "CONNECT_SECONDS", 1.0)
    folder = fill_with_dicom(tmp_path / "in", 1)
    settings = IngestSettings(store_size=64, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(MedpriorError, match="scheduler does not answer"):
        ingest_images(folder, tmp_path / "c", settings=settings)
    with pytest.raises(MedpriorError, match="scheduler"):
        IngestSettings.load(None, ["scheduler=tcp://user:word@host:1"])


def test_a_cluster_without_workers_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_cluster, "WORKER_SECONDS", 1.0)
    folder = fill_with_dicom(tmp_path / "in", 1)
    with (
        started(workers=0) as empty,
        pytest.raises(MedpriorError, match="no worker"),
    ):
        ingest_images(folder, tmp_path / "c", settings=on(empty))


def test_workers_that_do_not_see_the_input_end_the_run(tmp_path, cluster):
    job = (Policy(), 64, ProcessLimits())
    gone = str(tmp_path / CANARY)
    source = ImageSource(f"{gone}/a.dcm", "a.dcm", "a", None, ())
    with (
        pytest.raises(MedpriorError, match="does not see the input") as caught,
        clustering.ClusterDecodingPool(
            cluster.scheduler_address, gone, False, job, lambda s: RejectedFile("x", "x")
        ) as workers,
    ):
        list(workers.map([source]))
    assert CANARY not in str(caught.value)
    assert CANARY not in content_of(cluster)


def test_a_file_over_which_workers_died_is_read_here(tmp_path):
    """A scheduler that blames a task for its workers' deaths at once."""
    folder = fill_with_dicom(tmp_path / "in", 30)
    ingest_images(folder, tmp_path / "here", settings=ONE_WORKER)
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        started(workers=1) as fragile,
    ):
        disturbed(fragile, folder, tmp_path / "there", after=1)
    assert read_files(tmp_path / "there") == read_files(tmp_path / "here")


def test_the_package_loads_without_a_scheduler():
    code = "import medprior.ingest.pipeline, sys; assert 'distributed' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0
