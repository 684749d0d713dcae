"""Structure names of other tools."""

import pytest
from PIL import Image

from medprior.annotate import annotate_from_files
from medprior.annotate.naming import is_same_structure, normalise_name, parse_renames, rename_structures
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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Left Lung", "left_lung"),
        ("lung_left", "left_lung"),
        ("Lung, L", "left_lung"),
        ("R-lung", "right_lung"),
        ("Clavicle (r)", "right_clavicle"),
        ("heart left", "heart_left"),
        ("l heart", "l_heart"),
        ("lung left upper", "lung_left_upper"),
        ("Sténose 2", "stenose_2"),
        ("肺", ""),
    ],
)
def test_side_precedes_a_paired_organ_and_nothing_else(name, expected):
    assert normalise_name(name) == expected


def test_renames_are_pairs_each_label_once():
    assert parse_renames(["1=left_lung, 2 = heart", "3=x=y"]) == {"1": "left_lung", "2": "heart", "3": "x=y"}
    for items, words in (
        (["1"], "not LABEL=NAME"),
        (["1="], "not LABEL=NAME"),
        (["=heart"], "not LABEL=NAME"),
        (["1=heart,1=lungs"], "given twice"),
        (["1=heart", "1=heart"], "given twice"),
    ):
        with pytest.raises(MedpriorError, match=words):
            parse_renames(items)


def test_names_in_the_file_are_kept_normalised_or_renamed():
    values = {"Lung, L": 1, "lung right": 2, "肺": 3}
    assert rename_structures(values, {}) == ({"left_lung": [1], "right_lung": [2], "肺": [3]}, ())
    renamed, warnings = rename_structures(values, {"left lung": "heart"})
    assert (renamed, warnings) == ({"heart": [1], "right_lung": [2], "肺": [3]}, ())
    with pytest.raises(MedpriorError, match="no left in the file"):
        rename_structures(values, {"left": "heart"})


def test_labels_of_one_name_stay_together():
    assert rename_structures({"1": "a", "2": "b"}, {"1": "lungs", "2": "lungs"}) == ({"lungs": ["a", "b"]}, ())


def test_names_without_letters_are_only_equal_to_themselves():
    assert is_same_structure("肺", "肺")
    assert not is_same_structure("肺", "心")
    assert is_same_structure("LEFT-LUNG", "lung, l")
