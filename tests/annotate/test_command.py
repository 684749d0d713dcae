"""The command line of `medprior annotate`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprior.annotate import Annotation
from medprior.annotate.command import parse_mask_paths
from medprior.cli import main
from medprior.errors import MedpriorError
from tests.annotate.drawings import (
    assert_is_drawing,
    cohort_at,
    disc,
    label_map,
    masks,
    picture,
    picture_at,
)
from tests.annotate.structure_sets import SQUARE, both, structure_set
from tests.dicom.object_sources import source


def test_a_cohorts_masks_or_files_are_annotated_and_bad_calls_are_one_line(tmp_path, capsys):
    cohort = cohort_at(tmp_path / "cohort")
    out = tmp_path / "annotation"
    line = ["annotate", str(out), "--cohort", str(cohort.path), "--no-tracking"]
    assert main(line) == 0
    assert Annotation.load(out).image_id == "i8"
    Image.fromarray((picture() * 255).astype(np.uint8)).save(tmp_path / "image.png")
    Image.fromarray(disc(0.5, shape=(90, 90))).save(tmp_path / "small.png")
    assert "left_lung: 31% of it lies outside the body" in capsys.readouterr().err
    mask = ["--mask", f"heart={tmp_path / 'small.png'}"]
    image = ["--image", str(tmp_path / "image.png")]
    assert main(["annotate", str(out), *image, *mask, "--no-tracking"]) == 2
    error = capsys.readouterr().err
    assert "expected 120 rows x 90 columns, found 90 rows x 90 columns" in error
    assert error.count("\n") == 1
    for bad in ([], [*line[2:4], *image], [*image, "--mask", "heart"], [*image, *mask, *mask]):
        assert main(["annotate", str(out), *bad, "--no-tracking"]) == 2
    assert main(["annotate", str(out), "--image", str(tmp_path / "no.png"), *mask, "--no-tracking"]) == 2


def test_swapped_names_leave_a_preview_until_they_are_right(tmp_path, capsys):
    Image.fromarray(label_map()).save(tmp_path / "labels.png")
    line = [
        "annotate", str(tmp_path / "out"), "--image", str(picture_at(tmp_path / "chest.png")),
        "--annotations", str(tmp_path / "labels.png"), "--no-tracking",
    ]  # fmt: skip
    assert main([*line, "--names", "2=left_lung,1=right_lung"]) == 2
    assert "refused.png" in capsys.readouterr().err
    with Image.open(tmp_path / "out" / "refused.png") as image:
        assert np.asarray(image.convert("RGB")).std() > 10
    assert main([*line, "--names", "1=left_lung", "--names", "2=right_lung"]) == 0
    assert_is_drawing(Annotation.load(tmp_path / "out"))
    assert not (tmp_path / "out" / "refused.png").exists()
    assert main([*line, "--names", "1"]) == 2


def test_one_mask_goes_to_the_most_typical_image(tmp_path, unmasked_cohort, capsys):
    Image.fromarray(masks()["left_lung"]).save(tmp_path / "mask.png")
    line = ["annotate", str(tmp_path / "out"), "--cohort", str(unmasked_cohort.path), "--no-tracking"]
    assert main([*line, "--mask", f"left_lung={tmp_path / 'mask.png'}"]) == 0
    assert "left_lung" in capsys.readouterr().out
    assert main(line) == 2


def test_a_structure_set_needs_the_millimetres_of_its_radiograph(tmp_path, capsys):
    (tmp_path / "chest.dcm").write_bytes(source(**SQUARE))
    (tmp_path / "rt.dcm").write_bytes(structure_set(both((0.4, 0.4))))
    call = ["annotate", str(tmp_path / "out"), "--image", str(tmp_path / "chest.dcm"),
            "--no-tracking"]  # fmt: skip
    assert main([*call, "--annotation", str(tmp_path / "rt.dcm")]) == 0
    assert "left_lung, right_lung" in capsys.readouterr().out
    (tmp_path / "chest.dcm").write_bytes(source())
    assert main([*call, "--annotations", str(tmp_path / "rt.dcm")]) == 2
    assert "no millimetres per pixel" in capsys.readouterr().err


def test_masks_are_pairs_each_structure_once():
    assert parse_mask_paths(["heart=a=b.png", "lungs=c"]) == {"heart": Path("a=b.png"), "lungs": Path("c")}
    for items, words in (
        (["heart"], "not NAME=PATH"),
        (["heart="], "not NAME=PATH"),
        (["heart=a", "heart=b"], "given twice"),
    ):
        with pytest.raises(MedpriorError, match=words):
            parse_mask_paths(items)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--page", "--mask", "heart=x.png"], "draw, or give files"),
        (["--image", "x.png", "--mask", "heart=x.png", "--names", "1=heart"], "the option needs --annotations"),
    ],
)
def test_options_that_exclude_or_need_each_other(tmp_path, capsys, words, said):
    assert main(["annotate", str(tmp_path / "out"), *words, "--no-tracking"]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "annotation.json").exists()
