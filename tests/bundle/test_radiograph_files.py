"""A folder of radiographs as a data set."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from medprior.bundle.radiograph_files import RadiographDataset
from medprior.dicom import read_image
from medprior.errors import InputMissing, Rejected
from medprior.phantom import PhantomSettings, generate_phantom_cohort


def picture(path: Path, grey: int) -> None:
    """A picture of 128 rows and 160 columns with a brighter corner."""
    stored = np.full((128, 160), grey, np.uint8)
    stored[:40, :40] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored).save(path)


def test_files_are_sorted_and_read_as_one_channel(tmp_path):
    for name, grey in (("b/2.png", 20), ("a/9.png", 90), ("b/1.png", 10)):
        picture(tmp_path / name, grey)
    files = RadiographDataset(str(tmp_path))
    assert [str(Path(path).relative_to(tmp_path)) for path in files.data] == ["a/9.png", "b/1.png", "b/2.png"]
    assert len(files) == 3
    image = files[0]["image"]
    assert (image.dtype, tuple(image.shape)) == (torch.float32, (1, 128, 160))
    assert 0 <= float(image.min()) < float(image.max()) <= 1
    assert len(RadiographDataset(tmp_path / "b" / "1.png")) == 1


def test_a_file_that_is_no_radiograph_is_refused_on_access(tmp_path):
    picture(tmp_path / "a.png", 10)
    (tmp_path / "b.txt").write_text("no radiograph")
    files = RadiographDataset(tmp_path)
    assert len(files) == 2
    with pytest.raises(Rejected):
        files[1]
    with pytest.raises(InputMissing):
        RadiographDataset(tmp_path / "nowhere")


def test_files_are_parsed_in_another_process_also_by_a_loader_of_two_workers(tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        picture(tmp_path / name, 10)

    def parse(*_):
        raise AssertionError("parsed in the calling process")

    monkeypatch.setattr("medprior.dicom.raster.open_regular_file", parse)
    with pytest.raises(AssertionError):
        read_image(tmp_path / "a.png")
    loader = DataLoader(RadiographDataset(tmp_path), num_workers=2)
    assert [tuple(sample["image"].shape) for sample in loader] == [(1, 1, 128, 160)] * 2


def test_a_descriptor_says_which_files_are_images(tmp_path):
    generate_phantom_cohort(tmp_path, 2, 5, PhantomSettings.from_values({"size": 128}), workers=1)
    (tmp_path / "notes.txt").write_text("no radiograph")
    files = RadiographDataset(tmp_path, "phantom")
    assert files.data == sorted((tmp_path / "dicom").rglob("*.dcm"))
    assert len(files) >= 2
    assert len(RadiographDataset(tmp_path)) > len(files)
