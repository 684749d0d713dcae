from pathlib import Path

import numpy as np

from medprior.cli import main
from medprior.cohort import CohortWriter
from medprior.demo import real_demo
from medprior.demo.real_demo import RealDemoSettings, build_comparison_settings, select_frequent_labels
from medprior.evaluate.compare.plan import build_pretrain_settings, check_arms
from medprior.evaluate.compare.settings import CompareSettings


def test_real_row_names_what_is_missing(tmp_path, capsys):
    assert main(["demo", str(tmp_path / "out"), "--real", str(tmp_path)]) == 2
    assert "no nih/" in capsys.readouterr().err


FULL = Path(real_demo.__file__).with_name("real_full.json")


def test_every_arm_of_the_study_fits_a_comparison(tmp_path):
    """With all of its budgets, before hours are spent."""
    for study in (
        build_comparison_settings(RealDemoSettings(), ["tuberculosis"]),
        build_comparison_settings(RealDemoSettings.load(FULL, []), ["tuberculosis"]),
    ):
        settings = CompareSettings.from_values(study)
        assert len(settings.arms) == 14
        check_arms({name: settings.arm(name, tmp_path) for name in settings.arms}, settings)


def test_labels_have_enough_positives_in_every_split(tmp_path):
    counts = {"enough": (3, 2, 1), "few in train": (2, 2, 2), "few in val": (3, 1, 1), "few in test": (3, 2, 0)}
    with CohortWriter(tmp_path / "c") as writer:
        splits = {}
        for place, split in enumerate(("train", "val", "test")):
            for number in range(4):
                image_id = f"{split}{number}"
                splits[image_id] = split
                labels = {name: float(number < least[place]) for name, least in counts.items()}
                writer.add(
                    image_id=image_id, patient_id=image_id, pixels=np.full((2, 2), number / 4 + place / 16, np.float32),
                    labels=labels | {"unsure": 0.5},
                )  # fmt: skip
        writer.finish(splits)
    assert select_frequent_labels(tmp_path / "c", (3, 2, 1)) == ["enough"]


def test_all_arms_share_budget_labels_and_masks():
    settings = RealDemoSettings(seeds=2, masks=(1, 7), positives=(9, 4, 5), classification={"epochs": 3})
    study = build_comparison_settings(settings, ["mass"])
    assert study["finetune"]["classification"] == {"epochs": 3, "labels": ["mass"]}
    assert study["finetune"]["segmentation"] == {"size": 80, "fractions": [1.0], "masks": [1, 7]}
    assert study["evaluate"]["probe_least"] == 4
    assert next(iter(study["arms"])) == "span"


def test_baselines_are_what_they_are_called():
    study = CompareSettings.from_values(build_comparison_settings(RealDemoSettings(), ["mass"]))
    values = {
        name: build_pretrain_settings(study.arms[name], 0, study) for name in ("dino", "dino+koleo", "loca-alone")
    }
    assert {name: (run.dino.weight, run.dino.koleo_weight, run.loca.weight) for name, run in values.items()} == {
        "dino": (1, 0, 0), "dino+koleo": (1, 0.1, 0), "loca-alone": (0, 0, 1),
    }  # fmt: skip
    assert build_pretrain_settings(study.arms["sar+nosn"], 0, study).network.nosn
