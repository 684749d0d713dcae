"""One prediction through a fetched package."""

import json
import shutil
from pathlib import Path

import pytest

from medprior.deploy.promotion.smoke_test import run_smoke_prediction
from medprior.errors import MedpriorError
from tests.deploy.discs import changed


def package_of(folder: Path, **models: Path) -> Path:
    """A package as it comes from the registry, with its models under the names given."""
    for name, model in models.items():
        shutil.copytree(model, folder / name, ignore=shutil.ignore_patterns("checkpoints"))
    return folder


def test_the_answer_of_a_sound_package_in_words(classifier, segmenter, tmp_path):
    count = len(json.loads((classifier / "config.json").read_text())["labels"])
    both = package_of(tmp_path / "both", model=classifier, segmenter=segmenter)
    assert run_smoke_prediction(both) == f"{count} findings, 3 masks"
    (both / "notes").mkdir()
    shutil.rmtree(both / "segmenter")
    assert run_smoke_prediction(both) == f"{count} findings, 0 masks"


def test_numbers_that_are_not_finite_fail(classifier, tmp_path):
    broken = changed(classifier, tmp_path / "broken", scale=1e25)
    with pytest.raises(MedpriorError, match=r"the smoke prediction failed.*numbers that are not finite"):
        run_smoke_prediction(package_of(tmp_path / "package", model=broken))
