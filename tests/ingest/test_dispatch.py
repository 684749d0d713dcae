from medprior.ingest import IngestSettings, ingest_images
from medprior.ingest.dispatch import worker_limits
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
