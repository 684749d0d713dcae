"""The transfer in a process of the priors stage, and its doubts in words."""

from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from medprior.annotate.page.transfer_process import TransferProcess, format_doubt
from medprior.annotate.sources import create_cohort_annotation
from medprior.cohort import Cohort
from medprior.errors import MedpriorError
from medprior.metrics.overlap import compute_dice


def test_doubts_are_words():
    assert format_doubt("", 1.0) == ""
    assert format_doubt("", 0.5) == "the two pictures hardly match"
    assert format_doubt("registration, lung_ratio", 0.0).endswith("the lungs differ unusually in size")


@pytest.mark.parametrize(
    ("doubt", "trust", "words"),
    [
        ("", 0.999, "the two pictures hardly match"),
        ("empty", 0.5, "a structure is missing"),
        ("heart_ratio;some_other", 1.0, "the heart's width is unusual; some other"),
    ],
)
def test_a_doubt_without_a_reason_is_the_registrations(doubt, trust, words):
    assert format_doubt(doubt, trust) == words


def test_maps_come_one_by_one_with_their_doubts(tmp_path, phantom_cohort):
    cohort = Cohort.open(phantom_cohort)
    masks = {name: cohort.mask("p0001", name) for name in ("heart", "left_lung")}
    create_cohort_annotation(cohort, "p0001", masks, "", "").save(tmp_path / "a")
    results = []
    with closing(TransferProcess(phantom_cohort)) as transfer:
        next_id = transfer([tmp_path / "a"], ("p0007", "p0001"), results.append)
    other, own = results
    assert (other.image_id, own.image_id) == ("p0007", "p0001")
    assert (other.is_annotated, own.is_annotated, own.doubt) == (False, True, "")
    assert 0 < other.match <= 1
    for name, layer in other.maps.items():
        assert layer.dtype == np.float32
        truth = np.asarray(Image.fromarray(cohort.mask("p0007", name)).resize(layer.shape[::-1]))
        assert compute_dice(layer >= 0.5, truth) > 0.6, name
    assert next_id in {"p0007", None}


def test_what_the_stage_refuses_is_told_in_its_words(tmp_path, phantom_cohort):
    with (
        closing(TransferProcess(phantom_cohort)) as transfer,
        pytest.raises(MedpriorError, match=r"^transfer: .*no_annotation"),
    ):
        transfer([tmp_path / "no_annotation"], ("p0001",), print)
    with (
        closing(TransferProcess(tmp_path / "no_cohort")) as transfer,
        pytest.raises(MedpriorError, match=r"^transfer: .*no_cohort"),
    ):
        transfer([tmp_path], ("a", "b"), print)
