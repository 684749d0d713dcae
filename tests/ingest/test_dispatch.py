"""Who decodes: processes of this machine, as many as asked for, or the workers of a cluster."""

from types import SimpleNamespace

import pytest

from medprior.errors import ConfigError
from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest.dispatch import decode_sources, worker_limits
from medprior.ingest.pool import ProcessLimits
from tests.ingest.radiograph_files import fill_with_dicom, read_files


def test_workers_do_not_change_the_result(tmp_path):
    folder = fill_with_dicom(tmp_path / "in", 10)
    for count in (1, 3):
        settings = IngestSettings(workers=count, store_size=64)
        ingest_images(folder, tmp_path / str(count), settings=settings)
    assert read_files(tmp_path / "1") == read_files(tmp_path / "3")


def test_limits_of_a_process_are_those_of_the_settings():
    settings = IngestSettings(memory_mb=100, cpu_seconds=2, wall_seconds=3)
    assert worker_limits(settings) == ProcessLimits(memory_mb=100, cpu_seconds=2, wall_seconds=3)


@pytest.mark.parametrize("scheme", ["dimse", "dimse+tls"])
def test_workers_of_a_cluster_do_not_read_an_archive_over_dimse(tmp_path, scheme):
    origin = SimpleNamespace(remote=SimpleNamespace(scheme=scheme))
    settings = IngestSettings(scheduler="tcp://127.0.0.1:1")
    with (
        pytest.raises(ConfigError, match="workers do not read an archive over DIMSE"),
        decode_sources([], origin, settings, tmp_path),
    ):
        pass
