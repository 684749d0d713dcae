"""Writing the model folder: weights, training curve and `config.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from medprior.errors import TrainingDiverged
from medprior.finetune.assembly import Network
from medprior.finetune.engine import KEY_METRICS
from medprior.finetune.familiarity import OutOfDistributionDetector, fit_ood_detector
from medprior.finetune.handlers import has_finite_weights
from medprior.finetune.model import MODEL_WEIGHTS_FILE
from medprior.finetune.run import FinetuneRun
from medprior.finetune.selection import calibrate_labels, calibrate_structures, count_true_by_name
from medprior.finetune.training_curve import plot_training_curve
from medprior.observer import Observer
from medprior.provenance import atomic_write, merge_seen_cohorts, write_config


def write_model_folder(run: FinetuneRun, out: Path, inputs: dict[str, Path], observer: Observer) -> None:
    """Write the best network, its calibration and its metadata; `config.json` last.

    Raises:
        TrainingDiverged: no epoch gave a usable network.
    """
    if run.progress.best is None:
        raise TrainingDiverged("no epoch gave a finite validation metric", fix="lower lr")
    run.network.load_state_dict(run.progress.best)
    if not has_finite_weights(run.network):
        raise TrainingDiverged("the best weights are not finite", fix="lower lr")
    calibrate = calibrate_labels if run.settings.task == "classification" else calibrate_structures
    calibration = calibrate(run.network, run.val, run.settings, run.device)
    familiarity = fit_run_ood_detector(run)
    save_model_weights(out / MODEL_WEIGHTS_FILE, run.network, familiarity)
    plot_training_curve(out / "training.png", run.progress.rows, run.progress.best_epoch)
    write_config(
        out,
        "finetune",
        run.settings.model_dump(mode="json"),
        inputs=inputs,
        outputs=(MODEL_WEIGHTS_FILE, "metrics.csv", "training.png"),
        seed=run.settings.seed,
        facts=collect_model_metadata(run, calibration)
        | {
            "familiarity": familiarity_metadata(familiarity),
            "seen_cohorts": merge_seen_cohorts(inputs["cohort"], inputs.get("backbone")),
        }
        | ({"initial_weights": run.weights_facts} if run.weights_facts else {}),
    )
    key = KEY_METRICS[run.settings.task]
    observer.metrics({f"best_val_{key}": calibration["validation"][key]}, run.trainer.state.iteration)
    observer.artifact(out / "training.png")


def fit_run_ood_detector(run: FinetuneRun) -> OutOfDistributionDetector | None:
    """The out-of-distribution detector of the best network; None if there are too few images."""
    size, source_size = run.settings.size, run.settings.source_size
    assert size is not None
    assert source_size is not None
    return fit_ood_detector(run.network.eval().vit, *run.familiarity_splits, size, source_size, run.device)


def save_model_weights(path: Path, network: Network, familiarity: OutOfDistributionDetector | None) -> None:
    """Write the weights and the out-of-distribution detector into one file."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file(tensors | (familiarity.to_tensors() if familiarity else {}), temporary)


def familiarity_metadata(familiarity: OutOfDistributionDetector | None) -> dict[str, float] | None:
    """The detector's entry in `config.json`; None if there were too few images."""
    if familiarity is None:
        return None
    return {"threshold": familiarity.threshold, "false_alarm_rate": familiarity.false_alarm_rate}


def collect_model_metadata(run: FinetuneRun, calibration: dict[str, Any]) -> dict[str, Any]:
    """The entries of `config.json` that later stages read."""
    classify = run.settings.task == "classification"
    known = run.train.targets == 1 if classify else run.train.known
    return {
        "task": run.settings.task,
        "labels" if classify else "structures": list(run.train.names),
        "network": run.network.vit.settings.model_dump(mode="json"),
        "heads": run.heads,
        "preprocessing": {
            "size": run.settings.size,
            "source_size": run.settings.source_size,
            "frame": "whole view, aspect kept, zero padded",
            "range": [0, 1],
        },
        "training": {
            "images": len(run.train),
            "patients": len(np.unique(run.train.cohort.patient_ids)),
            "positive" if classify else "known": count_true_by_name(run.train.names, known),
            "best_epoch": run.progress.best_epoch,
            "kept": "last epoch" if run.settings.has_few_masks else "best epoch",
            "skipped_steps": int(run.progress.rows[-1]["skipped_steps"]),
        },
        **calibration,
    }
