import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medprior.annotate import Annotation, annotate_from_cohort
from medprior.cohort import Cohort, CohortWriter
from medprior.errors import MedpriorError
from medprior.priors import build_prior
from medprior.priors.build import build_from_statistics, build_own_maps
from medprior.priors.prior_figure import select_plotted_images
from medprior.priors.quality import summarise_quality
from medprior.priors.settings import PriorSettings
from medprior.priors.soft_maps import build_static_maps
from tests.recording_observer import RecordingObserver

from .conftest import thorax


def test_registered_beats_static_on_images_it_has_not_seen(thoraxes, drawing, registered, tmp_path):
    prior, _ = registered
    static = build_prior(thoraxes, tmp_path / "static", drawing, "static")
    test = thoraxes.split("test")
    ours, theirs = summarise_quality(prior, test), summarise_quality(static, test)
    for name in ("left_lung", "right_lung", "heart", "lungs"):
        if name in theirs:
            assert ours[name]["dice"] > theirs[name]["dice"] + 0.05
            assert ours[name]["pixel_ap"] > max(0.97, theirs[name]["pixel_ap"])
            assert ours[name]["n"] == len(test)
    assert static.per_image is None
    np.testing.assert_array_equal(static.maps, prior.maps)


def test_files_of_a_prior(registered, thoraxes):
    prior, out = registered
    with np.load(out / "prior.npz", allow_pickle=False) as arrays:
        assert arrays["maps"].dtype == np.float32
        assert arrays["maps"].shape == (3, 128, 128)
        assert list(arrays["names"]) == ["heart", "left_lung", "right_lung"]
    record = json.loads((out / "prior.json").read_text())
    assert (record["source"], record["method"]) == ("annotation", "registered")
    assert record["quality"]["splits"] == ["train", "val"]
    assert record["registered"] == {"deformable": 19, "annotated": 1, "static": 1}
    assert record["annotation"]["image_id"] == "t000"
    assert record.keys() & {"annotations", "stones"} == set()  # of several annotations, of consensus
    config = json.loads((out / "config.json").read_text())
    assert set(config["outputs"]) >= {"prior.npz", "prior.json", "per_image.npy"}
    with Image.open(out / "prior.png") as picture:
        # Six panels of 2.2 x 2.6 inches at 150 dots an inch: the mean, four images and the worst.
        assert picture.size == (1980, 390)
    assert 0 <= prior.maps.min() <= prior.maps.max() <= 1


def test_the_annotated_image_is_excluded_by_name_and_by_pixels(drawing, registered, tmp_path):
    assert registered[0].excluded == {"t000"}
    pixels, masks = thorax(0)
    with CohortWriter(tmp_path / "c") as writer:
        writer.add(image_id="renamed", pixels=pixels, patient_id="a", masks=masks)
        for seed in (1, 2, 3):
            writer.add(image_id=f"o{seed}", pixels=thorax(seed)[0], patient_id=f"{seed}")
        writer.finish(split={"renamed": "train", "o1": "train", "o2": "val", "o3": "test"})
    other = build_prior(tmp_path / "c", tmp_path / "p", drawing, "static")
    assert other.excluded == {"renamed"}
    assert "quality" not in other.facts


def test_methods_that_cannot_run_say_why(thoraxes, drawing, tmp_path):
    with pytest.raises(MedpriorError, match="medprior annotate"):
        build_prior(thoraxes, tmp_path, None, "registered")
    with pytest.raises(MedpriorError, match="backbone's attention"):
        build_prior(thoraxes, tmp_path, drawing, "refined")
    with pytest.raises(MedpriorError, match="takes no backbone"):
        build_prior(thoraxes, tmp_path, drawing, "static", backbone=tmp_path)
    other = Annotation(drawing.image, {"heart": drawing.masks["heart"]})
    with pytest.raises(MedpriorError, match="annotation 2 is of other structures"):
        build_prior(thoraxes, tmp_path, [drawing, other], "static")
    with pytest.raises(MedpriorError, match="method"):
        build_prior(thoraxes, tmp_path, drawing, "magic")


def test_opened_cohorts_by_path(thoraxes, drawing, tmp_path):
    drawing.save(tmp_path / "a")
    prior = build_prior(thoraxes.path, tmp_path / "p", tmp_path / "a", "static")
    config = json.loads((tmp_path / "p" / "config.json").read_text())
    assert set(config["inputs"]) == {"cohort", "annotation"}
    assert isinstance(Cohort.open(thoraxes.path), Cohort)
    assert prior.trust("anything") == 1


QUICK = {"size": 32, "stones": 2, "registration": {"size": 64, "iterations": 4, "mesh": 6, "shrink": [4, 2]}}


@pytest.mark.parametrize("method", ["affine", "deformable", "consensus"])
def test_an_annotated_image_has_its_own_masks_with_full_trust(thoraxes, tmp_path, method):
    """t001 gains nothing from registration to itself; t002 registers, the noise never does."""
    annotation = annotate_from_cohort(thoraxes, "t001")
    part = thoraxes.select(["t000", "t001", "t002", "noise"])
    settings = PriorSettings.from_values(QUICK | {"method": method})
    for _ in range(2):  # the second run resumes
        prior = build_prior(part, tmp_path, annotation, settings=settings, workers=1)
        row = prior.table.set_index("image_id").loc["t001"]
        assert (row.trust, row.status, row.doubt) == (1.0, "annotated", "")
        own = np.rint(build_static_maps(annotation, 32, settings.softness) * 255)
        np.testing.assert_array_equal(prior.per_image[1], own)
        assert prior.trust("t001") == 1.0
        assert prior.facts["registered"]["annotated"] == 1
        assert "t001" not in dict(select_plotted_images(prior, part.split("train"), 0)[-1:]).values()
    assert (prior.table.status == "annotated").sum() == 1


def test_own_masks_go_to_the_image_with_the_annotated_pixels(thoraxes, drawing):
    """Two annotations of one image are averaged; of one id and other pixels, the pixels decide."""
    settings = PriorSettings.from_values({"size": 32})
    maps = build_static_maps(drawing, 32, settings.softness)
    other = Annotation(drawing.image, {k: np.roll(m, 5, axis=0) for k, m in drawing.masks.items()}, "t000")
    mean = build_own_maps(thoraxes, [drawing, other], settings)
    assert list(mean) == ["t000"]
    np.testing.assert_allclose(mean["t000"], (maps + build_static_maps(other, 32, settings.softness)) / 2, atol=1e-6)
    renamed = replace(drawing, image_id="t005")
    np.testing.assert_array_equal(build_own_maps(thoraxes, [renamed], settings)["t000"], maps)
    assert list(build_own_maps(thoraxes, [renamed], settings)) == ["t000"]
    assert build_own_maps(thoraxes.select(["t003"]), [drawing], settings) == {}


def test_several_annotations_are_fused_corrected_and_name_the_next(thoraxes, drawing, registered, tmp_path):
    drawings = [drawing, annotate_from_cohort(thoraxes, "t004"), annotate_from_cohort(thoraxes, "t008")]
    part = thoraxes.select(["t000", "t003", "t004", "t005", "t007", "t008", "t011", "noise"])
    prior = build_prior(part, tmp_path, drawings, workers=2)
    assert prior.excluded == {"t000", "t004", "t008"}
    assert [a["image_id"] for a in prior.facts["annotations"]] == ["t000", "t004", "t008"]
    assert prior.facts["next"][0]["image_id"] == "t005"
    ours, one = summarise_quality(prior, part), summarise_quality(registered[0], part.select(["t003", "t005", "t007"]))
    for name in ("left_lung", "right_lung", "heart"):
        assert ours[name]["dice"] > one[name]["dice"] - 0.01
    table = prior.table.set_index("image_id")
    assert table.doubt["noise"].startswith("registration")
    assert table.doubt["t003"] == ""
    assert 0 < table.disagreement["t003"] < table.disagreement["noise"]
    assert prior.facts["doubtful"] == (table.doubt != "").sum()


def test_the_observer_receives_quality_and_mean_trust(thoraxes, drawing, tmp_path):
    observer = RecordingObserver()
    settings = PriorSettings(method="affine", registration={"size": 64})
    prior = build_prior(thoraxes, tmp_path, drawing, settings=settings, observer=observer)
    assert observer.received[0]["mean_trust"] == pytest.approx(prior.table.trust.mean())
    assert observer.received[0]["quality.heart.dice"] == prior.facts["quality"]["structures"]["heart"]["dice"]
    assert tmp_path / "prior.png" in observer.files


def test_the_picture_of_statistics_spans_black_to_white(thoraxes):
    prior, transfer = build_from_statistics(thoraxes, PriorSettings(method="statistics", statistics={"fit": True}))
    (example,) = transfer.examples
    assert example.image.shape == (transfer.settings.registration.size,) * 2
    assert 0 <= example.image.min() < 0.02
    assert 0.98 < example.image.max() <= 1
    assert example.coverage.shape[0] == len(prior.names)
    assert build_from_statistics(thoraxes, PriorSettings(method="statistics", statistics={"fit": False}))[1] is None
