"""Inverted, turned and other pictures are told by their pixels: a few here, real radiographs in the slow test."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medprior.bench.out_of_distribution_images import SYNTHETIC_ODDITIES
from medprior.cli import main
from medprior.deploy import load_model
from medprior.deploy.inference.upright_check import (
    INVERTED_FLAG,
    NOT_FRONTAL_FLAG,
    ROTATED_FLAG,
    find_wrong_pose,
    require_upright_check,
)
from medprior.errors import InputMissing

DATA = Path(__file__).parents[4] / "shared" / "data"
SETS = ("wingspan", "genblock", "hannover", "nih", "shenzhen", "kermany")
IMAGES_PER_SET = 5
CHANGES = {
    "as they are": ("", lambda pixels: pixels),
    "inverted": (INVERTED_FLAG, lambda pixels: 1 - pixels),
    "turned left": (ROTATED_FLAG, np.rot90),
    "upside down": (ROTATED_FLAG, lambda pixels: np.rot90(pixels, 2)),
    "turned right": (ROTATED_FLAG, lambda pixels: np.rot90(pixels, 3)),
}
OTHER_BODY_PARTS = ("hand", "skull", "abdomen", "knee", "lateral")


@pytest.fixture(scope="module")
def predictor():
    """The anatomy model that comes with medprior."""
    return load_model()


def example_radiograph() -> np.ndarray:
    """The real radiograph that comes with medprior, float32 [rows, cols] in [0, 1]."""
    from medprior.deploy.service.app import EXAMPLE_RADIOGRAPH
    from medprior.resources import find_resource_folder

    return read_picture(find_resource_folder("bundles") / EXAMPLE_RADIOGRAPH)


def read_picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("L"), dtype=np.float32) / 255


def change(pixels: np.ndarray, name: str) -> np.ndarray:
    return np.ascontiguousarray(CHANGES[name][1](pixels), dtype=np.float32)


@pytest.mark.parametrize("name", CHANGES)
def test_a_radiograph_in_every_pose(name, predictor):
    assert find_wrong_pose(predictor, change(example_radiograph(), name)) == CHANGES[name][0]


def test_the_command_flags_what_is_wrong(tmp_path):
    (tmp_path / "in").mkdir()
    for name in CHANGES:
        levels = np.rint(change(example_radiograph(), name) * 255).astype(np.uint8)
        Image.fromarray(levels).save(tmp_path / "in" / f"{name}.png")
    assert main(["predict", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--check-upright", "--keep-names"]) == 0
    with (tmp_path / "out" / "report.csv").open(newline="") as file:
        flags = {Path(row["file"]).stem: row["flags"].split() for row in csv.DictReader(file)}
    known = {INVERTED_FLAG, ROTATED_FLAG, NOT_FRONTAL_FLAG}
    assert {name: "".join(known & set(found)) for name, found in flags.items()} == {
        name: flag for name, (flag, _) in CHANGES.items()
    }


def test_a_model_that_cannot_tell_is_refused(classifier):
    with pytest.raises(InputMissing, match="segments lungs"):
        require_upright_check(load_model(classifier))


def list_pictures(name: str) -> list[Path]:
    """Some radiographs of a set, the same ones every time."""
    paths = [path for path in sorted((DATA / name).rglob("*")) if path.suffix in {".png", ".jpeg", ".jpg"}]
    paths = [path for path in paths if "mask" not in str(path.relative_to(DATA))]
    rows = np.random.default_rng(0).permutation(len(paths))[:IMAGES_PER_SET]
    return [paths[row] for row in sorted(rows.tolist())]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not DATA.is_dir(), reason="no real radiographs here")
def test_real_radiographs_in_every_pose(predictor):
    found: dict[str, Counter[str]] = {name: Counter() for name in CHANGES}
    for folder in SETS:
        for path in list_pictures(folder):
            for name in CHANGES:
                found[name][find_wrong_pose(predictor, change(read_picture(path), name))] += 1
    print(f"\n| {IMAGES_PER_SET} of each of {', '.join(SETS)} | none | inverted | rotated | not frontal |")
    for name, counts in found.items():
        cells = [counts[flag] for flag in ("", INVERTED_FLAG, ROTATED_FLAG, NOT_FRONTAL_FLAG)]
        print(f"| {name} | {' | '.join(map(str, cells))} |")
    rng = np.random.default_rng(1)
    others = Counter()
    for name in OTHER_BODY_PARTS:
        flags = [find_wrong_pose(predictor, SYNTHETIC_ODDITIES[name](rng, 256)) for _ in range(6)]
        others[name] = sum(bool(flag) for flag in flags)
        print(f"| {name}, rendered: flagged {others[name]} of 6 |")
    total = IMAGES_PER_SET * len(SETS)
    assert found["as they are"][""] >= 0.95 * total
    for name, (flag, _) in list(CHANGES.items())[1:]:
        assert found[name][flag] >= 0.9 * total, name
    # None of the rendered abdomens is told from a chest.
    assert sum(count for name, count in others.items() if name != "abdomen") >= 0.8 * 6 * (len(OTHER_BODY_PARTS) - 1)
