"""Structure names of other tools."""

import pytest
from PIL import Image

from medprior.annotate import annotate_from_files
from medprior.errors import MedpriorError
from tests.annotate.drawings import (
    annotate_drawing,
    label_map,
)


def test_labels_need_names_and_names_need_labels(tmp_path):
    Image.fromarray(label_map()).save(tmp_path / "labels.png")
    with pytest.raises(MedpriorError, match="--names 1=NAME,2=NAME"):
        annotate_drawing(tmp_path, tmp_path / "labels.png", {})
    with pytest.raises(MedpriorError, match="no 5 in the file"):
        annotate_drawing(tmp_path, tmp_path / "labels.png", {"5": "heart"})
    annotation = annotate_drawing(tmp_path, tmp_path / "labels.png", {"1": "left_lung"})
    assert annotation.structures == ("left_lung",)
    assert "label 2 of the file has no name and was left out" in annotation.warnings
    with pytest.raises(MedpriorError, match="numbers several structures"):
        annotate_from_files(tmp_path / "chest.png", {"heart": tmp_path / "labels.png"})
