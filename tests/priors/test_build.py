import json
import shutil

import numpy as np
import pandas as pd
import pytest

from medprior.annotate import Annotation, annotate_from_cohort
from medprior.cli import main
from medprior.cohort import Cohort, CohortWriter
from medprior.errors import InputMissing, MedpriorError
from medprior.priors import PriorSettings, SpatialPrior, build_prior
from medprior.priors import per_image as per_image_module
from medprior.priors.quality import summarise_quality

from .conftest import thorax, write_cohort


@pytest.fixture(scope="session")
def registered(thoraxes, drawing, tmp_path_factory):
    out = tmp_path_factory.mktemp("registered") / "prior"
    return build_prior(thoraxes, out, drawing, workers=1), out


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
    assert record["registered"] == {"deformable": 20, "static": 1}
    assert record["annotation"]["image_id"] == "t000"
    config = json.loads((out / "config.json").read_text())
    assert set(config["outputs"]) >= {"prior.npz", "prior.json", "per_image.npy"}
    assert (out / "prior.png").stat().st_size > 10_000
    assert 0 <= prior.maps.min() <= prior.maps.max() <= 1


def test_an_image_without_a_match_keeps_the_static_maps_and_no_trust(registered):
    prior, _ = registered
    row = prior.table.set_index("image_id").loc["noise"]
    assert row.status == "static"
    np.testing.assert_allclose(prior.maps_for("noise"), prior.maps, atol=0.5 / 255 + 1e-6)
    assert prior.trust("noise") == 0
    assert prior.trust("t003") == 1
    np.testing.assert_array_equal(prior.maps_for("unknown"), prior.maps)
    assert prior.trust("unknown") == 0


def test_batch_is_the_single_maps(registered):
    prior, _ = registered
    batch = prior.batch(["t004", "unknown", "t001"])
    assert batch.shape == (3, 3, 128, 128)
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch[2], prior.maps_for("t001"))
    assert np.abs(batch[0] - batch[2]).max() > 0.2


def test_saved_again_it_is_the_same(registered, tmp_path):
    prior, out = registered
    prior.save(tmp_path)
    shutil.copy(out / "config.json", tmp_path)
    back = SpatialPrior.load(tmp_path)
    assert (back.names, back.method, back.source, back.excluded, back.facts) == (
        prior.names, prior.method, prior.source, prior.excluded, prior.facts)  # fmt: skip
    np.testing.assert_array_equal(back.maps, prior.maps)
    np.testing.assert_array_equal(back.per_image, prior.per_image)
    pd.testing.assert_frame_equal(back.table, prior.table)
    (tmp_path / "per_image.npy").unlink()
    with pytest.raises(InputMissing, match="missing or broken"):
        SpatialPrior.load(tmp_path)


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


def test_two_workers_give_the_same_bytes_as_one(thoraxes, drawing, registered, tmp_path):
    build_prior(thoraxes, tmp_path, drawing, workers=2)
    for name in ("per_image.npy", "prior.npz", "per_image.parquet", "prior.json"):
        assert (tmp_path / name).read_bytes() == (registered[1] / name).read_bytes(), name


def test_a_killed_run_is_taken_up(thoraxes, drawing, registered, tmp_path, monkeypatch):
    asked = []
    original = per_image_module.transfer_chunks

    def dying(rows, *rest):
        asked.append(len(rows))
        for count, answer in enumerate(original(rows, *rest)):
            if count == 1 and len(asked) == 1:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(per_image_module, "transfer_chunks", dying)
    names = thoraxes.image_ids[4:14]
    part = thoraxes.select(names)
    with pytest.raises(KeyboardInterrupt):
        build_prior(part, tmp_path, drawing, workers=1)
    with pytest.raises(InputMissing, match="no finished result"):
        SpatialPrior.load(tmp_path)
    again = build_prior(part, tmp_path, drawing, workers=1)
    assert asked == [10, 10 - per_image_module.CHUNK_SIZE]
    np.testing.assert_array_equal(again.batch(names), registered[0].batch(names))
    build_prior(part, tmp_path, drawing, workers=1)
    assert asked[2] == 0
    # Other settings are other work.
    build_prior(part, tmp_path, drawing, "affine", workers=1)
    assert asked[3] == 10


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


def test_command(thoraxes, drawing, tmp_path, capsys):
    small = write_cohort(tmp_path / "cohort", count=5, with_noise=False)
    annotate_from_cohort(small, "t000").save(tmp_path / "annotation")
    call = ["prior", str(small.path), str(tmp_path / "prior"), "--no-tracking"]
    drawn = ["--annotation", str(tmp_path / "annotation")]
    assert main([*call, *drawn, "--method", "affine", "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "left_lung" in said
    assert "pixel-AP" in said
    assert SpatialPrior.load(tmp_path / "prior").method == "affine"
    assert main([*call, "--method", "static"]) == 2
    assert main([*call, "--annotation", str(tmp_path / "nothing")]) == 2
    assert main([*call, *drawn, "--set", "softnes=3"]) == 2
    # The backbone given on the command line arrives.
    assert main([*call, *drawn, "--method", "static", "--backbone", str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4
    assert "unknown key 'softnes'" in errors[2]
    assert "takes no backbone" in errors[3]


def test_opened_cohorts_by_path(thoraxes, drawing, tmp_path):
    drawing.save(tmp_path / "a")
    prior = build_prior(thoraxes.path, tmp_path / "p", tmp_path / "a", "static")
    config = json.loads((tmp_path / "p" / "config.json").read_text())
    assert set(config["inputs"]) == {"cohort", "annotation"}
    assert isinstance(Cohort.open(thoraxes.path), Cohort)
    assert prior.trust("anything") == 1


def test_several_annotations_are_fused_corrected_and_name_the_next(thoraxes, drawing, registered, tmp_path):
    drawn = [drawing, annotate_from_cohort(thoraxes, "t004"), annotate_from_cohort(thoraxes, "t008")]
    part = thoraxes.select(["t000", "t003", "t004", "t005", "t007", "t008", "t011", "noise"])
    prior = build_prior(part, tmp_path, drawn, workers=2)
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
