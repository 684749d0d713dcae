"""Each bundle does its stage's work on a small cohort and leaves its result folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medprior.cohort import Cohort
from medprior.deploy.inference.predict_files import REPORT_FILE
from medprior.finetune import load_finetuned_model
from medprior.networks import load_backbone
from medprior.pretrain import Pretraining
from medprior.pretrain.settings import PretrainSettings
from medprior.priors import SpatialPrior

from .conftest import (
    BUNDLES,
    TINY_FINETUNING,
    TINY_PRETRAINING,
    config_files,
    run,
)

FAST_EVALUATION = {"evaluation_settings": {"resamples": 20, "probe_images": 12, "device": "cpu"}}


def runs(uri):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(ids)


def test_ingestion(pictures, tmp_path):
    out = tmp_path / "cohort"
    bundle = run(
        "chest_xray_ingestion", "inference.json", dataset_dir=str(pictures), out=str(out),
        descriptor="phantom", workers=1, store_size=96,
    )  # fmt: skip
    cohort = Cohort.open(out)
    assert len(cohort) == len(list(pictures.glob("dicom/**/*.dcm")))
    told = bundle.evaluator.state.metrics
    assert told["files.accepted"] == len(cohort)
    assert len(bundle.dataset) == len(cohort)
    assert bundle.dataset[0]["image"].shape[0] == 1


def test_prior_from_statistics_and_its_evaluation(phantom_cohort, tmp_path):
    given = {"dataset_dir": str(phantom_cohort), "out": str(tmp_path / "prior"), "workers": 1}
    run("chest_xray_spatial_prior", "inference.json", **given,
        **{"settings#statistics#size": 64})  # fmt: skip
    prior = SpatialPrior.load(tmp_path / "prior")
    assert prior.maps.shape[1:] == (64, 64)
    evidence = str(tmp_path / "evidence")
    run("chest_xray_spatial_prior", "inference.json", "evaluate.json", **given, **FAST_EVALUATION,
        evidence_dir=evidence)  # fmt: skip
    metrics = json.loads((tmp_path / "evidence/metrics.json").read_text())
    assert 0 < metrics["prior.pixel_ap.left_lung"]["value"] <= 1


def test_pretraining_is_tracked_and_is_that_of_the_stage(phantom_cohort, tmp_path, monkeypatch):
    """Same weights as `medprior pretrain` with the same settings; tracking sees its loss."""
    uri = f"sqlite:///{tmp_path}/own.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    given = {"dataset_dir": str(phantom_cohort), "out": str(tmp_path / "bundle")}
    run("chest_xray_pretraining", "train.json", tracking="mlflow", **given, **TINY_PRETRAINING)
    settings = PretrainSettings.from_values(
        {
            "recipe": "dino", "epochs": 2, "batch": 8, "device": "cpu", "window": 1,
            "network": {"width": 24, "depth": 2},
            "crops": {"global_size": 32, "local_size": 16, "locals": 1},
            "dino": {"prototypes": 16, "hidden": 16, "bottleneck": 8},
        }
    )  # fmt: skip
    Pretraining(phantom_cohort, tmp_path / "stage", settings=settings).run()
    first, second = (load_backbone(tmp_path / k).network.state_dict() for k in ("bundle", "stage"))
    assert all(bool((first[key] == second[key]).all()) for key in first)
    (tracked,) = runs(uri)
    rows = pd.read_csv(tmp_path / "bundle/metrics.csv")
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["max_epochs"] == "2"
    assert tracked.data.metrics["train_loss"] == pytest.approx(rows.loss.iloc[-1], rel=1e-4)
    assert tracked.data.metrics["teacher_entropy"] > 0


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_finetuning(task, phantom_cohort, pictures, tmp_path, monkeypatch):
    """Train with tracking, evaluate, predict a folder of files."""
    uri = f"sqlite:///{tmp_path}/own.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    name, out = f"chest_xray_{task}", tmp_path / "model"
    given = {"dataset_dir": str(phantom_cohort), "out": str(out)}
    run(name, "train.json", tracking="mlflow", **given, **TINY_FINETUNING)
    (tracked,) = runs(uri)
    key = "mean_auc" if task == "classification" else "mean_dice"
    assert tracked.info.status == "FINISHED"
    assert {"train_loss", key} <= set(tracked.data.metrics)
    assert load_finetuned_model(out).task == task
    run(name, "train.json", "evaluate.json", **given, **TINY_FINETUNING, **FAST_EVALUATION,
        evidence_dir=str(tmp_path / "evidence"))  # fmt: skip
    metrics = json.loads((tmp_path / "evidence/metrics.json").read_text())
    wanted = "classification.mauc" if task == "classification" else "segmentation.dice.heart"
    assert np.isfinite(metrics[wanted]["value"])
    bundle = run(
        name, "inference.json", dataset_dir=str(pictures / "dicom"), model_dir=str(out),
        out=str(tmp_path / "answers"), device="cpu",
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "answers" / REPORT_FILE)
    assert (table.status == "rejected").sum() == 1
    assert bundle.evaluator.state.metrics["ok"] == len(table) - 1 > 2


def start(*arguments, launcher=("-m", "monai.bundle", "run")):
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    env.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, *launcher, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=BUNDLES.parent, timeout=300)


def words(values):
    return [part for key, value in values.items() for part in (f"--{key}", str(value))]


def test_missing_cohort_is_one_line_and_status_2(tmp_path):
    (config,) = config_files("chest_xray_pretraining", ("train.json",))
    done = start("--config_file", config, "--dataset_dir", str(tmp_path / "none"), "--recipe=dino")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("medprior: ")
    assert "run `medprior ingest` first" in last


def test_two_processes_give_the_losses_of_one(phantom_cohort, tmp_path):
    """Equal global batch: every step's loss within 1e-3 of one process's, the first's within 1e-5.

    Gradients differ by rounding alone; AdamW makes whole steps of gradients that are nearly zero.
    """
    name = "chest_xray_pretraining"
    given = TINY_PRETRAINING | {"dataset_dir": str(phantom_cohort)}
    run(name, "train.json", **given, out=str(tmp_path / "one"))
    files = config_files(name, ("train.json", "multi_gpu_train.json"))
    done = start(
        "--config_file", str(files), *words({**given, "out": tmp_path / "two"}),
        launcher=("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m",
                  "monai.bundle", "run"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (pd.read_csv(tmp_path / k / "metrics.csv") for k in ("one", "two"))
    assert len(one) == len(two) >= 4
    for column in ("loss", "loss_dino", "loss_koleo"):
        relative = ((one[column] - two[column]) / one[column]).abs()
        assert relative.iloc[0] < 1e-5, column
        assert relative.max() < 1e-3, column
    assert load_backbone(tmp_path / "two").config["settings"]["batch"] == 8


def test_two_processes_finetune_an_ibot_backbone(phantom_cohort, tmp_path):
    """The mask token of the backbone has no gradient in fine-tuning; the second step waits for none."""
    pretraining = TINY_PRETRAINING | {"recipe": "ibot", "dataset_dir": str(phantom_cohort)}
    run("chest_xray_pretraining", "train.json", **pretraining, out=str(tmp_path / "backbone"))
    name = "chest_xray_classification"
    given = {"dataset_dir": phantom_cohort, "backbone_dir": tmp_path / "backbone", "out": tmp_path / "model"}
    files = config_files(name, ("train.json", "multi_gpu_train.json"))
    done = start(
        "--config_file", str(files), *words({"epochs": 1, "batch": 8, "device": "cpu", **given}),
        launcher=("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m",
                  "monai.bundle", "run"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert load_finetuned_model(tmp_path / "model").task == "classification"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_commands_of_the_readme_word_for_word(tmp_path):
    """Every command of `bundles/README.md`, in order, with nothing changed."""
    text = (BUNDLES / "README.md").read_text()
    blocks = [block for block in text.split("```")[1::2] if "bundle" in block]
    assert len(blocks) == 3
    (tmp_path / "bundles").symlink_to(BUNDLES)
    (tmp_path / "medprior").symlink_to(BUNDLES.parent / "medprior")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for block in blocks:
        done = subprocess.run(
            ["bash", "-e", "-c", block], cwd=tmp_path, env=os.environ | {"PATH": path},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    metrics = json.loads((tmp_path / "runs/classifier_evidence/metrics.json").read_text())
    assert "classification.mauc" in metrics
