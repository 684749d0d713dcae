import numpy as np

from medprior.annotate import Annotation
from medprior.cohort import Cohort, CohortWriter
from medprior.priors import PriorSettings, build_prior
from medprior.priors.consensus import add_intermediate_examples, select_diverse_rows
from medprior.priors.registration import Example
from medprior.priors.transfer import LabelTransfer

from .conftest import noise, thorax


def test_any_structure_works_and_consensus_is_no_worse(thoraxes, drawing, registered, tmp_path):
    only = Annotation(drawing.image, {"spleen_like": drawing.masks["heart"]}, "t000")
    settings = PriorSettings(stones=2)
    small = thoraxes.select([f"t{i:03d}" for i in range(6)])
    prior = build_prior(small, tmp_path, only, "consensus", settings, workers=1)
    assert prior.names == ("spleen_like",)
    assert 1 <= len(prior.facts["stones"]) <= 2
    assert prior.table.heard.max() > 1
    truth = small.mask_squares("heart", 128)[0] >= 0.5
    names = registered[0].names
    for row, image_id in enumerate(small.image_ids[1:], 1):
        ours = prior.maps_for(image_id)[0] >= 0.5
        pair = registered[0].maps_for(image_id)[names.index("heart")] >= 0.5
        overlap = [2 * (m & truth[row]).sum() / (m.sum() + truth[row].sum()) for m in (ours, pair)]
        assert overlap[0] > overlap[1] - 0.05


def test_rows_nearest_to_the_centres_by_pixel_ranks():
    """Two groups of three; in each the middle one is the nearest to the mean of the three."""
    base = np.arange(8, dtype=np.float32)
    first, last = base.copy(), base.copy()
    first[[0, 1]] = 1, 0
    last[[6, 7]] = 7, 6
    rows = [first, 0.01 * base, last, 7 - first, 7 - last, 0.5 - 0.01 * base]
    squares = np.stack(rows).reshape(6, 2, 4)
    assert select_diverse_rows(squares, 2, seed=0) == [1, 5]
    assert select_diverse_rows(squares[:2], 6, seed=0) == [0, 1]


def test_only_images_that_registered_become_examples(drawing, tmp_path):
    with CohortWriter(tmp_path / "cohort") as writer:
        for name, pixels in (("t001", thorax(1)[0]), ("noise", noise()), ("t002", thorax(2)[0])):
            writer.add(image_id=name, pixels=pixels, patient_id=name)
        writer.add(image_id="t003", pixels=thorax(3)[0], patient_id="t003")
        writer.finish(split={"t001": "train", "noise": "train", "t002": "train", "t003": "test"})
    quick = {"size": 64, "iterations": 4, "mesh": 6, "shrink": [4, 2]}
    settings = PriorSettings.from_values({"size": 32, "stones": 3, "registration": quick})
    annotated = Example(drawing.square(64), drawing.coverage(64))
    transfer = LabelTransfer((annotated,), "deformable", settings, drawing.structures)
    extended, image_ids = add_intermediate_examples(Cohort.open(tmp_path / "cohort"), transfer)
    assert set(image_ids) == {"t001", "t002"}
    assert extended.examples[0] is annotated
    assert [example.coverage.shape for example in extended.examples[1:]] == [(3, 32, 32)] * 2
    assert extended.annotated == 1
    assert transfer.examples == (annotated,)
