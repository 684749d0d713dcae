from medprior.ingest import ingest_images
from tests.ingest.radiograph_files import ONE_WORKER, fill_with_dicom


def test_limit_draws_the_same_files_again(tmp_path):
    folder = fill_with_dicom(tmp_path / "in", 10)
    settings = ONE_WORKER.model_copy(update={"limit": 4})
    made = [ingest_images(folder, tmp_path / name, settings=settings).image_ids for name in "ab"]
    assert made[0] == made[1]
    assert len(made[0]) == 4
