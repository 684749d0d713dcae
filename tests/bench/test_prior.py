"""The bench goes on where it was stopped, and judges no image it was shown."""

import json

import pytest

from medprior.bench import prior as room
from medprior.bench.prior import JOURNAL_FILE, RESULTS_FILE, bench_priors, main, parse_arguments
from medprior.bench.prior_cases import (
    METHODS,
    select_with_masks,
)
from medprior.errors import MedpriorError
from tests.priors.conftest import write_cohort

QUICK = ("static", "affine")


def lines(folder):
    return [json.loads(line) for line in (folder / JOURNAL_FILE).read_text().splitlines()][1:]


def test_each_image_is_judged_once_and_the_means_are_theirs(thoraxes, tmp_path, capsys):
    rows = bench_priors(thoraxes, tmp_path, names=QUICK)
    assert [row["case"] for row in rows] == list(QUICK)
    test = thoraxes.split("test")
    for row in rows:
        own = [line for line in lines(tmp_path) if line["case"] == row["case"]]
        assert [line["image_id"] for line in own] == list(test.image_ids)
        for name, found in row["structures"].items():
            assert found["n"] == len(test)
            mean = sum(line["scores"][name][0] for line in own) / len(own)
            assert found["dice"] == pytest.approx(mean)
            assert found["dice_ci95"][0] <= mean <= found["dice_ci95"][1]
    assert set(rows[0]["structures"]) == {"heart", "left_lung", "lungs", "right_lung"}
    record = json.loads((tmp_path / RESULTS_FILE).read_text())
    assert [row["case"] for row in record["cases"]] == list(QUICK)
    printed = capsys.readouterr().out
    assert printed.count("left_lung") == 2


def test_a_stopped_bench_goes_on(thoraxes, tmp_path, monkeypatch):
    whole = bench_priors(thoraxes, tmp_path / "whole", names=("static",), split="all")
    original, asked = room.compute_image_scores, []

    def dying(prior, part, limit):
        asked.append(len(part))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return original(prior, part, limit=limit)

    monkeypatch.setattr(room, "compute_image_scores", dying)
    with pytest.raises(KeyboardInterrupt):
        bench_priors(thoraxes, tmp_path / "two", names=("static",), split="all")
    again = bench_priors(thoraxes, tmp_path / "two", names=("static",), split="all")
    assert asked == [8, 8, 8, 4]
    assert again[0]["structures"] == whole[0]["structures"]
    bench_priors(thoraxes, tmp_path / "two", names=("static",), split="all")
    assert len(asked) == 4
    bench_priors(thoraxes, tmp_path / "two", names=("static",), split="all", images=5)
    assert len(asked) == 4


def test_of_all_images_the_example_is_not_judged(thoraxes, tmp_path):
    (row,) = bench_priors(thoraxes, tmp_path, names=("static",), split="all")
    scored = len(select_with_masks(thoraxes, ("left_lung",)))
    assert row["structures"]["left_lung"]["n"] == scored - 1
    assert sum(not line["scores"] for line in lines(tmp_path)) == 1


def test_results_of_another_cohort_are_refused(thoraxes, tmp_path):
    bench_priors(thoraxes, tmp_path / "out", names=("static",))
    other = write_cohort(tmp_path / "cohort", count=6)
    with pytest.raises(MedpriorError, match="another cohort"):
        bench_priors(other, tmp_path / "out", names=("static",))


def test_from_the_command_line(thoraxes, tmp_path, capsys):
    given = parse_arguments([str(thoraxes.path), "--out", str(tmp_path), "--images", "2", "--methods", "static"])
    main(**given)
    assert "n=2" in capsys.readouterr().out
    assert parse_arguments([])["names"] == METHODS
    with pytest.raises(SystemExit):
        parse_arguments(["--methods", "magic"])


def test_a_case_is_the_mean_over_images_with_the_structure():
    records = [
        {"patient_id": "a", "seconds": 1.0, "scores": {"heart": [0.5, 0.25], "spine": [0.9, 0.8]}},
        {"patient_id": "a", "seconds": 2.0, "scores": {"heart": [0.7, 0.75]}},
        {"patient_id": "b", "seconds": 6.0, "scores": {"heart": [0.9, 0.5]}},
    ]
    case = room.summarise_case("static", records)
    assert (case["case"], case["seconds"]) == ("static", 3.0)
    assert list(case["structures"]) == ["heart", "spine"]
    heart = case["structures"]["heart"]
    assert heart["dice"] == pytest.approx(0.7)
    assert heart["pixel_ap"] == pytest.approx(0.5)
    assert heart["dice_p5"] == pytest.approx(0.52)
    assert (heart["n"], case["structures"]["spine"]["n"]) == (3, 1)
    # Resampled patients: both times a, both times b, or the mean of all three images.
    assert heart["dice_ci95"] == pytest.approx((0.6, 0.9))
    assert room.summarise_case("static", []) == {"case": "static", "seconds": 0.0, "structures": {}}


def test_scored_images_have_a_mask_and_are_at_most_as_many_as_asked(thoraxes):
    every = room.select_scored_images(thoraxes, "all", None)
    assert len(every) == int(thoraxes.manifest.filter(like="mask_").notna().any(axis=1).sum())
    test = room.select_scored_images(thoraxes, "test", 2)
    assert len(test) == 2
    assert set(test.manifest.split) == {"test"}
