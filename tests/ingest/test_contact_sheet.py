import numpy as np
from PIL import Image

from medprior.ingest import ingest_images
from tests.ingest.radiograph_files import ONE_WORKER, fill_with_dicom


def test_contact_sheet_shows_the_pictures(tmp_path):
    ingest_images(fill_with_dicom(tmp_path / "in", 3), tmp_path / "c", settings=ONE_WORKER)
    with Image.open(tmp_path / "c" / "contact_sheet.png") as sheet:
        assert sheet.size[0] > 3 * 200
        assert np.asarray(sheet.convert("L")).std() > 20
