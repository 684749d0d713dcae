import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medprior.ingest import ingest_images
from medprior.ingest.report.contact_sheet import render_thumbnail, write_contact_sheet
from tests.ingest.radiograph_files import ONE_WORKER, fill_with_dicom


def test_contact_sheet_shows_the_pictures(tmp_path):
    ingest_images(fill_with_dicom(tmp_path / "in", 3), tmp_path / "c", settings=ONE_WORKER)
    with Image.open(tmp_path / "c" / "contact_sheet.png") as sheet:
        assert sheet.size[0] > 3 * 200
        assert np.asarray(sheet.convert("L")).std() > 20


def sheet_of(path, count):
    """The sheet's size and the images it asked for, of `count` images."""
    manifest = pd.DataFrame({"image_id": [f"i{number:03d}" for number in range(count)]}).assign(
        view="PA", sex=None, age=np.nan, rows=4, cols=4, polarity_inverted=False, flags=""
    )
    asked = []

    def read(image_id):
        asked.append(image_id)
        return np.zeros((4, 4), np.float32)

    write_contact_sheet(path, manifest, read, lambda image_id: {})
    with Image.open(path) as sheet:
        return sheet.size, asked


@pytest.mark.parametrize(
    ("count", "size"), [(1, (212, 258)), (3, (624, 258)), (8, (1654, 258)), (9, (1654, 510)), (100, (1654, 1518))]
)
def test_a_sheet_has_at_most_eight_columns_and_six_rows(tmp_path, count, size):
    sheet_size, asked = sheet_of(tmp_path / "sheet.png", count)
    assert sheet_size == size
    assert len(asked) == min(count, 48)
    assert (asked[0], asked[-1]) == ("i000", f"i{count - 1:03d}")
    assert asked == sorted(set(asked))


def test_a_thumbnail_is_centred_and_only_the_edge_of_a_mask_is_coloured():
    mask = np.zeros((100, 200), bool)
    mask[20:40, 20:60] = True
    picture = np.asarray(render_thumbnail(np.full((100, 200), 0.5, np.float32), {"heart": mask}))
    assert picture.shape == (200, 200, 3)
    assert not picture[:50].any()
    assert not picture[150:].any()
    heart, grey = [204, 121, 167], [127, 127, 127]
    for row, column, colour in (
        (70, 20, heart), (89, 59, heart), (71, 20, heart), (71, 21, grey), (88, 58, grey),
        (69, 20, grey), (90, 59, grey),
    ):  # fmt: skip
        assert picture[row, column].tolist() == colour, (row, column)


def test_a_mask_at_the_border_of_the_picture_has_an_edge_there():
    picture = np.asarray(render_thumbnail(np.zeros((200, 200), np.float32), {"heart": np.ones((200, 200), bool)}))
    assert picture[0].any(axis=-1).all()
    assert picture[:, -1].any(axis=-1).all()
    assert not picture[1:-1, 1:-1].any()
