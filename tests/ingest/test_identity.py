import stat

import pytest

from medprior.errors import MedpriorError
from medprior.ingest import ingest_images
from tests.ingest.radiograph_files import ONE_WORKER, fill_with_dicom


def test_ids_depend_on_the_key_and_on_nothing_else(tmp_path):
    folder = fill_with_dicom(tmp_path / "in", 4)
    keys = tmp_path / "keys"
    made = [
        ingest_images(folder, tmp_path / name, settings=ONE_WORKER, key=keys / key)
        for name, key in (("a", "1"), ("b", "1"), ("c", "2"))
    ]
    ids = [set(cohort.image_ids) | set(cohort.patient_ids) for cohort in made]
    assert ids[0] == ids[1]
    assert not ids[0] & ids[2]
    assert stat.S_IMODE((keys / "1").stat().st_mode) == 0o600
    with pytest.raises(MedpriorError, match="another identity key"):
        ingest_images(folder, tmp_path / "a", settings=ONE_WORKER, key=keys / "2")


def test_keys_beside_the_data_open_or_short_are_refused(tmp_path):
    folder = fill_with_dicom(tmp_path / "in", 1)
    for path in (tmp_path / "c" / "key", tmp_path / "c.private" / "key"):
        with pytest.raises(MedpriorError, match="beside the data"):
            ingest_images(folder, tmp_path / "c", settings=ONE_WORKER, key=path)
    (tmp_path / "short").write_text("abc")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(MedpriorError, match="too short"):
        ingest_images(folder, tmp_path / "c", settings=ONE_WORKER, key=tmp_path / "short")
    (tmp_path / "short").chmod(0o644)
    with pytest.raises(MedpriorError, match="open to other users"):
        ingest_images(folder, tmp_path / "c", settings=ONE_WORKER, key=tmp_path / "short")
