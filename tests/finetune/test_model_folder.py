import json

import pytest
import torch

from medprior.errors import TrainingDiverged
from medprior.finetune.model import load_finetuned_model
from medprior.finetune.model_folder import collect_model_metadata, familiarity_metadata, write_model_folder
from medprior.finetune.training import prepare_run
from medprior.observer import NullObserver
from tests.finetune.conftest import tiny
from tests.recording_observer import RecordingObserver


def test_config_says_what_later_stages_need(vit_folders):
    config = json.loads((vit_folders / "classification" / "config.json").read_text())
    assert config["task"] == "classification"
    assert config["labels"] == ["large", "right"]
    assert config["preprocessing"] == {
        "size": 32, "source_size": 40, "range": [0, 1],
        "frame": "whole view, aspect kept, zero padded",
    }  # fmt: skip
    assert config["threshold"].keys() == config["calibration"]["temperature"].keys()
    assert set(config["outputs"]) == {"model.safetensors", "metrics.csv", "training.png"}
    known = config["validation"]["positive"]["right"] + config["validation"]["negative"]["right"]
    assert 0 < known < config["validation"]["images"]
    assert json.loads((vit_folders / "segmentation" / "config.json").read_text())["structures"] == ["heart"]


@pytest.fixture
def run(cohort, tmp_path):
    """A run before its first step."""
    return prepare_run(cohort, tmp_path / "run", tiny(uncertain="soft"))


def test_a_run_without_a_usable_epoch_writes_nothing(cohort, run, tmp_path):
    out = tmp_path / "m"
    with pytest.raises(TrainingDiverged, match="no epoch gave a finite"):
        write_model_folder(run, out, {"cohort": cohort.path}, NullObserver())
    run.progress.best = run.network.state_dict() | {"linear.bias": torch.tensor([0.0, torch.inf])}
    with pytest.raises(TrainingDiverged, match="best weights are not finite"):
        write_model_folder(run, out, {"cohort": cohort.path}, NullObserver())
    assert not out.exists()


def test_the_best_weights_are_written_not_the_last(cohort, run, tmp_path):
    run.progress.best = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.progress.best["linear.bias"] = torch.tensor([0.25, -0.5])
    row = {"epoch": 1.0, "train_loss": 1.0, "val_loss": 1.0, "val_mean_auc": 0.5, "skipped_steps": 0.0}
    run.progress.rows, run.progress.best_epoch = [row], 1
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "metrics.csv").touch()
    observer = RecordingObserver()
    write_model_folder(run, tmp_path / "m", {"cohort": cohort.path}, observer)
    model = load_finetuned_model(tmp_path / "m")
    assert observer.received == {0: {"best_val_mean_auc": model.config["validation"]["mean_auc"]}}
    assert observer.files == [tmp_path / "m" / "training.png"]
    assert model.network.linear.bias.tolist() == [0.25, -0.5]
    assert model.familiarity.threshold == pytest.approx(model.config["familiarity"]["threshold"])
    assert model.config["familiarity"]["false_alarm_rate"] == pytest.approx(model.familiarity.false_alarm_rate)


def test_metadata_count_images_patients_and_exact_positives(cohort, run):
    run.progress.rows = [{"skipped_steps": 5.0}, {"skipped_steps": 7.0}]
    run.progress.best_epoch = 2
    run.train.targets[0, 0] = 0.5  # uncertain is not positive
    metadata = collect_model_metadata(run, {"threshold": {"large": 0.5}})
    train = cohort.split("train").manifest
    assert metadata["training"] == {
        "images": len(train), "patients": train.patient_id.nunique(),
        "positive": {"large": int((train.large.iloc[1:] == 1).sum()), "right": int((train.right == 1).sum())},
        "best_epoch": 2, "kept": "best epoch", "skipped_steps": 7,
    }  # fmt: skip
    assert metadata["threshold"] == {"large": 0.5}
    assert (metadata["labels"], metadata["heads"]) == (["large", "right"], {})
    assert "structures" not in metadata


def test_with_few_masks_the_last_epoch_is_kept(cohort, tmp_path):
    run = prepare_run(cohort, tmp_path / "run", tiny(task="segmentation", masks=2))
    run.progress.rows = [{"skipped_steps": 0.0}]
    metadata = collect_model_metadata(run, {})
    assert metadata["training"]["kept"] == "last epoch"
    assert metadata["training"]["patients"] == 2
    assert metadata["training"]["known"] == {"heart": len(run.train)}
    assert metadata["structures"] == ["heart"]


def test_a_missing_detector_is_null():
    assert familiarity_metadata(None) is None
