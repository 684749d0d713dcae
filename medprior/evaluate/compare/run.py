"""One run of a comparison: one arm with one seed, trained and scored once, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from medprior.cohort import Cohort
from medprior.errors import TrainingFailed
from medprior.evaluate.compare.cost import measure_cost, summarise_costs
from medprior.evaluate.compare.failed_runs import (
    BACKBONE_STAGE,
    has_failed_backbone,
    read_failed_stages,
    record_failure,
)
from medprior.evaluate.compare.label_budgets import LabelBudget, format_share_key, list_label_budgets
from medprior.evaluate.compare.plan import build_finetune_settings, build_pretrain_settings, list_arm_tasks
from medprior.evaluate.compare.run_metrics import RunScores
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.evaluate.localisation.attention_scores import extract_backbone, score_attention
from medprior.evaluate.probes.cross_validation import score_crossval_probes
from medprior.evaluate.probes.probe_data import select_probe_data
from medprior.evaluate.probes.probes import (
    PartFeatures,
    extract_probe_features,
    score_all_probes,
    select_training_rows,
)
from medprior.evaluate.sections.models import score_segmentation
from medprior.evaluate.settings import EvaluateSettings
from medprior.evaluate.study import EvaluationStudy
from medprior.finetune.data.targets import select_patient_share
from medprior.finetune.model import Model, load_finetuned_model
from medprior.finetune.settings import Task
from medprior.finetune.training import finetune_model
from medprior.locks import hold_lock
from medprior.metrics.auc import Floats
from medprior.networks import load_backbone
from medprior.networks.device import select_device
from medprior.pretrain.pipeline import pretrain_backbone
from medprior.provenance import atomic_write, read_config

SCORES_FILE = "scores.npz"
DRAW_STRIDE = 1000
"""Between the seeds of label draws, so that those of different runs differ."""


@dataclass(frozen=True)
class ComparisonRun:
    """One arm with one seed, and its folder.

    Attributes:
        origin: folder of the run whose backbone this run shares; None: its own.
    """

    folder: Path
    arm: Arm
    seed: int
    origin: Path | None = None

    @property
    def source(self) -> Path:
        """Folder of the backbone and its scores."""
        return self.origin or self.folder


def score_run(run: ComparisonRun, cohort: Path, study: EvaluationStudy, settings: CompareSettings) -> RunScores:
    """Scores of one run; stages that are missing are trained and scored.

    A failed stage is recorded and left out; a run with a failed backbone has no scores.
    """
    backbone = None
    if BACKBONE_STAGE not in read_failed_stages(run.source):
        try:
            backbone = pretrain_run_backbone(run, cohort, settings)
        except TrainingFailed as error:
            record_failure(run.source, BACKBONE_STAGE, error)
    if has_failed_backbone(run.folder, run.source):
        return {}
    scores: RunScores = {}
    if backbone is not None:
        fractions = settings.fractions
        scores = load_or_compute_scores(
            run.source / SCORES_FILE, lambda: score_backbone(backbone, run.seed, study, fractions)
        )
        scores |= read_training_scores(backbone)
    for task in list_arm_tasks(run.arm, settings):
        for budget in list_label_budgets(settings, task, run.arm):
            scores |= score_finetuned_model(run, backbone, study, settings, task, budget)
    costs = {key: np.array([value]) for key, value in summarise_costs(run.folder).items()}
    return scores | costs


def list_score_files(run: ComparisonRun, settings: CompareSettings) -> dict[str, tuple[Path, ...]]:
    """Stage -> score files that exist once it is complete."""
    files: dict[str, tuple[Path, ...]] = {}
    if run.arm.recipe is not None:
        files[BACKBONE_STAGE] = (run.source / SCORES_FILE,)
    for task in list_arm_tasks(run.arm, settings):
        for budget in list_label_budgets(settings, task, run.arm):
            stage = f"{task}-{budget.name}"
            attention_files = (get_attention_scores_path(run, stage),) if needs_attention_scores(task, budget) else ()
            files[stage] = (run.folder / f"{stage}.npz", *attention_files)
    return files


def is_run_complete(run: ComparisonRun, settings: CompareSettings) -> bool:
    """Whether all stages are scored or failed."""
    failed = read_failed_stages(run.folder)
    if BACKBONE_STAGE in failed:
        return True
    score_files = list_score_files(run, settings)
    return all(stage in failed or all(path.is_file() for path in files) for stage, files in score_files.items())


def needs_attention_scores(task: Task, budget: LabelBudget) -> bool:
    """Whether a model's attention is scored: only classifiers trained with all labels."""
    return task == "classification" and budget.name == "100pct"


def get_attention_scores_path(run: ComparisonRun, stage: str) -> Path:
    """File of the attention scores of a fine-tuned model."""
    return run.folder / f"{stage}-attention.npz"


def pretrain_run_backbone(run: ComparisonRun, cohort: Path, settings: CompareSettings) -> Path | None:
    """Folder of the run's backbone, trained if missing; None for an arm from scratch."""
    if run.arm.recipe is None:
        return None
    backbone = run.source / BACKBONE_STAGE
    with hold_lock(run.source / ".pretraining", "this backbone", wait_seconds=None, mode=0o666):
        if not (backbone / "config.json").is_file():
            pretrain_settings = build_pretrain_settings(run.arm, run.seed, settings)
            with measure_cost(run.source, BACKBONE_STAGE, select_device(pretrain_settings.device)):
                pretrain_backbone(
                    cohort, backbone, run.arm.prior if pretrain_settings.needs_prior else None, pretrain_settings
                )
    return backbone


def read_training_scores(backbone: Path) -> RunScores:
    """Training scores from `metrics.csv`, [1] each; empty without the file.

    Median seconds of a step, and LOCA's position accuracy over the last window, on patches of
    training images.
    """
    path = backbone / "metrics.csv"
    if not path.is_file():
        return {}
    table = pd.read_csv(path)
    batch = read_config(backbone, "pretrain")["settings"]["batch"]
    values = {"cost.step_seconds": batch / table["images_per_second"].median()}
    if "loca_accuracy" in table:
        values["loca_accuracy"] = table["loca_accuracy"].iloc[-1]
    return {name: np.array([value], dtype=np.float64) for name, value in values.items()}


def load_or_compute_scores(path: Path, compute: Callable[[], RunScores]) -> RunScores:
    """Scores from `path`; if it is missing, they are computed and saved first."""
    if not path.is_file():
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, **compute())  # type: ignore[arg-type]
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def score_finetuned_model(
    run: ComparisonRun, backbone: Path | None, study: EvaluationStudy, settings: CompareSettings,
    task: Task, budget: LabelBudget,
) -> RunScores:  # fmt: skip
    """Test scores of one model, `<budget>.<task>.<label or structure>` [n]; trained if needed.

    Includes the attention scores of a classifier trained with all labels, under `tuned.`.
    """
    stage = f"{task}-{budget.name}"
    if stage in read_failed_stages(run.folder):
        return {}
    model = cache(partial(finetune_run_model, run, backbone, study, settings, task, budget))
    prefix = f"{budget.name}.{task}."
    try:
        scores = load_or_compute_scores(run.folder / f"{stage}.npz", lambda: score_run_model(model(), study, prefix))
        if needs_attention_scores(task, budget):
            scores |= load_or_compute_scores(
                get_attention_scores_path(run, stage), lambda: score_finetuned_attention(model(), study)
            )
    except TrainingFailed as error:
        record_failure(run.folder, stage, error)
        return {}
    return scores


def finetune_run_model(
    run: ComparisonRun, backbone: Path | None, study: EvaluationStudy, settings: CompareSettings,
    task: Task, budget: LabelBudget,
) -> Model:  # fmt: skip
    """One fine-tuned model of the run, trained if missing."""
    stage = f"{task}-{budget.name}"
    folder = run.folder / stage
    if not (folder / "config.json").is_file():
        finetune_settings = build_finetune_settings(run.arm, run.seed, settings, task, budget)
        prior = run.arm.prior if finetune_settings.needs_prior else None
        with measure_cost(run.folder, stage, select_device(finetune_settings.device)):
            finetune_model(study.cohort, folder, task, backbone, finetune_settings, prior=prior)
    return load_finetuned_model(folder, str(select_device(settings.evaluate.device)))


def score_finetuned_attention(model: Model, study: EvaluationStudy) -> RunScores:
    """`tuned.ap.<target>` and `tuned.spatial_entropy` [n]; empty for a CNN."""
    backbone = extract_backbone(model)
    scores = score_attention(backbone, study) if backbone is not None else {}
    return {f"tuned.{name}": values for name, values in scores.items()}


def score_run_model(model: Model, study: EvaluationStudy, prefix: str) -> RunScores:
    """Probability and truth of every label, or Dice of every structure, [n] each."""
    if model.task == "segmentation":
        scores, _ = score_segmentation(study.part, model, with_distances=False)
        return {f"{prefix}{name}": metrics["dice"] for name, metrics in scores.items()}
    truth = study.part.labels(list(model.labels))
    probabilities = dict(zip(model.labels, model.predict_cohort(study.part).T, strict=True))
    result = {f"{prefix}{label}": values for label, values in probabilities.items()}
    return result | {f"truth.{label}": values for label, values in zip(model.labels, truth.T, strict=True)}


def score_backbone(path: Path, seed: int, study: EvaluationStudy, fractions: Sequence[float]) -> RunScores:
    """Per-image scores of one backbone: `ap.<target>` [n], `<share>.<probe>` [n, C], `truth`.

    With several `probe_draws`, `<share>.<probe>` is [draws, n, C] below all patients. With `probe_folds`,
    `crossval.<probe>` of the whole cohort too.
    """
    backbone, settings = load_backbone(path), study.settings
    scores: RunScores = dict(score_attention(backbone, study))
    entropy = backbone.config.get("training", {}).get("teacher_entropy", np.nan)
    scores["teacher_entropy"] = np.array([entropy], dtype=np.float64)
    parts, truth, reason = select_probe_data(study)
    if reason:
        return scores
    scores["truth"] = truth["test"]
    scores |= score_crossval_probes(backbone, study, seed)
    seeded = settings.model_copy(update={"seed": seed})
    features = extract_probe_features(backbone, parts, seeded)
    for fraction in fractions:
        draws = settings.probe_draws if fraction < 1 else 1
        probe_scores = [
            score_label_draw(features, parts["train"], truth, fraction, seed + DRAW_STRIDE * draw, seeded)
            for draw in range(draws)
        ]
        for name in probe_scores[0]:
            values = np.stack([draw_scores[name] for draw_scores in probe_scores], dtype=np.float64)
            scores[f"{format_share_key(fraction)}.{name}"] = values if draws > 1 else values[0]
    return scores


def score_label_draw(
    features: dict[str, PartFeatures], train: Cohort, truth: dict[str, Floats], fraction: float, seed: int,
    settings: EvaluateSettings,
) -> RunScores:  # fmt: skip
    """Scores [n, C] of the test images by every probe of a share of the training patients drawn with `seed`."""
    selected = set(select_patient_share(train, fraction, seed).image_ids)
    rows = np.flatnonzero([image_id in selected for image_id in train.image_ids])
    share_truth = truth | {"train": truth["train"][rows]}
    probe_scores = score_all_probes(select_training_rows(features, rows), share_truth, settings)
    return {name: values for name, (values, _) in probe_scores.items()}
