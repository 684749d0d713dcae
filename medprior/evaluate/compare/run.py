"""One run of a comparison: an arm and a seed, trained once, judged once, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from medprior.errors import TrainingFailed
from medprior.evaluate.compare.arm_settings import build_finetune_settings, build_pretrain_settings, list_arm_tasks
from medprior.evaluate.compare.cost import measure_cost, summarise_costs
from medprior.evaluate.compare.failed_runs import (
    BACKBONE_STAGE,
    has_failed_backbone,
    read_failed_stages,
    record_failure,
)
from medprior.evaluate.compare.label_budgets import LabelBudget, format_share_key, list_label_budgets
from medprior.evaluate.compare.run_metrics import RunScores
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.evaluate.localisation.attention_scores import extract_backbone, score_attention
from medprior.evaluate.probes.cross_validation import score_crossval_probes
from medprior.evaluate.probes.probe_data import select_probe_data
from medprior.evaluate.probes.probes import score_backbone_probes
from medprior.evaluate.sections.models import score_segmentation
from medprior.evaluate.study import EvaluationStudy
from medprior.finetune.data.targets import select_patient_share
from medprior.finetune.model import Model, load_finetuned_model
from medprior.finetune.settings import Task
from medprior.finetune.training import finetune_model
from medprior.locks import hold_lock
from medprior.networks import load_backbone
from medprior.pretrain.pipeline import pretrain_backbone
from medprior.provenance import atomic_write, read_config

SCORES_FILE = "scores.npz"


@dataclass(frozen=True)
class ComparisonRun:
    """One arm with one seed, and the folder that keeps it.

    Attributes:
        origin: folder of the run whose backbone this one starts from; None: its own.
    """

    folder: Path
    arm: Arm
    seed: int
    origin: Path | None = None

    @property
    def source(self) -> Path:
        """Folder that keeps the backbone and its scores."""
        return self.origin or self.folder


def score_run(run: ComparisonRun, cohort: Path, study: EvaluationStudy, settings: CompareSettings) -> RunScores:
    """Scores of one run, training and judging it where that is not done yet.

    A stage that stopped itself is recorded and left out; without its backbone a run has no scores.
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
    """Stage -> the files of scores that say it is done."""
    found: dict[str, tuple[Path, ...]] = {}
    if run.arm.recipe is not None:
        found[BACKBONE_STAGE] = (run.source / SCORES_FILE,)
    for task in list_arm_tasks(run.arm, settings):
        for budget in list_label_budgets(settings, task, run.arm):
            stage = f"{task}-{budget.name}"
            more = (attention_scores_path(run, stage),) if needs_attention(task, budget) else ()
            found[stage] = (run.folder / f"{stage}.npz", *more)
    return found


def is_run_complete(run: ComparisonRun, settings: CompareSettings) -> bool:
    """Whether nothing is left to train or to judge."""
    lost = read_failed_stages(run.folder)
    if BACKBONE_STAGE in lost:
        return True
    wanted = list_score_files(run, settings)
    return all(stage in lost or all(path.is_file() for path in files) for stage, files in wanted.items())


def needs_attention(task: Task, budget: LabelBudget) -> bool:
    """Whether a model's attention is measured: that of classifiers from all labels."""
    return task == "classification" and budget.name == "100pct"


def attention_scores_path(run: ComparisonRun, stage: str) -> Path:
    """Where the attention of a fine-tuned model is kept."""
    return run.folder / f"{stage}-attention.npz"


def pretrain_run_backbone(run: ComparisonRun, cohort: Path, settings: CompareSettings) -> Path | None:
    """The run's backbone, trained where that is not done yet; None for an arm from scratch."""
    if run.arm.recipe is None:
        return None
    backbone = run.source / BACKBONE_STAGE
    with hold_lock(run.source / ".pretraining", "this backbone", wait_seconds=None, mode=0o666):
        if not (backbone / "config.json").is_file():
            chosen = build_pretrain_settings(run.arm, run.seed, settings)
            with measure_cost(run.source, BACKBONE_STAGE):
                pretrain_backbone(cohort, backbone, run.arm.prior if chosen.needs_prior else None, chosen)
    return backbone


def read_training_scores(backbone: Path) -> RunScores:
    """What `metrics.csv` says of training, [1] each; without the file nothing.

    Median seconds of a step, and LOCA's accuracy over the last window, in which patches are placed
    that the network trains on.
    """
    path = backbone / "metrics.csv"
    if not path.is_file():
        return {}
    table = pd.read_csv(path)
    batch = read_config(backbone, "pretrain")["settings"]["batch"]
    found = {"cost.step_seconds": batch / table["images_per_second"].median()}
    if "loca_accuracy" in table:
        found["loca_accuracy"] = table["loca_accuracy"].iloc[-1]
    return {name: np.array([value], dtype=np.float64) for name, value in found.items()}


def load_or_compute_scores(path: Path, made: Callable[[], RunScores]) -> RunScores:
    """Scores from `path`, made and written there first where they are missing."""
    if not path.is_file():
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, **made())  # type: ignore[arg-type]
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def score_finetuned_model(
    run: ComparisonRun, backbone: Path | None, study: EvaluationStudy, settings: CompareSettings,
    task: Task, budget: LabelBudget,
) -> RunScores:  # fmt: skip
    """Test scores of one model, `<budget>.<task>.<label or structure>` [n]; trained if needed.

    Of a classifier from all labels the attention too, under `tuned.`.
    """
    stage = f"{task}-{budget.name}"
    if stage in read_failed_stages(run.folder):
        return {}
    model = cache(partial(finetune_run_model, run, backbone, study, settings, task, budget))
    lead = f"{budget.name}.{task}."
    try:
        scores = load_or_compute_scores(run.folder / f"{stage}.npz", lambda: score_run_model(model(), study, lead))
        if needs_attention(task, budget):
            scores |= load_or_compute_scores(
                attention_scores_path(run, stage), lambda: score_finetuned_attention(model(), study)
            )
    except TrainingFailed as error:
        record_failure(run.folder, stage, error)
        return {}
    return scores


def finetune_run_model(
    run: ComparisonRun, backbone: Path | None, study: EvaluationStudy, settings: CompareSettings,
    task: Task, budget: LabelBudget,
) -> Model:  # fmt: skip
    """One of the run's models, trained where that is not done yet."""
    stage = f"{task}-{budget.name}"
    folder = run.folder / stage
    if not (folder / "config.json").is_file():
        chosen = build_finetune_settings(run.arm, run.seed, settings, task, budget)
        prior = run.arm.prior if chosen.needs_prior else None
        with measure_cost(run.folder, stage):
            finetune_model(study.cohort, folder, task, backbone, chosen, prior=prior)
    return load_finetuned_model(folder)


def score_finetuned_attention(model: Model, study: EvaluationStudy) -> RunScores:
    """`tuned.ap.<target>` and `tuned.spatial_entropy` [n]; nothing of a model without heads."""
    backbone = extract_backbone(model)
    found = score_attention(backbone, study) if backbone is not None else {}
    return {f"tuned.{name}": values for name, values in found.items()}


def score_run_model(model: Model, study: EvaluationStudy, lead: str) -> RunScores:
    """Probability of every label with its truth beside it, or Dice of every structure, [n] each."""
    if model.task == "segmentation":
        scores, _ = score_segmentation(study.part, model)
        return {f"{lead}{name}": one["dice"] for name, one in scores.items()}
    truth = study.part.labels(list(model.labels))
    found = dict(zip(model.labels, model.predict_cohort(study.part).T, strict=True))
    answers = {f"{lead}{label}": values for label, values in found.items()}
    return answers | {f"truth.{label}": t for label, t in zip(model.labels, truth.T, strict=True)}


def score_backbone(path: Path, seed: int, study: EvaluationStudy, fractions: Sequence[float]) -> RunScores:
    """Per-image scores of one backbone: `ap.<target>` [n], `<share>.<probe>` [n, C], `truth`.

    With `probe_folds` also `crossval.<probe>` of the whole cohort.
    """
    backbone, settings = load_backbone(path), study.settings
    scores: RunScores = dict(score_attention(backbone, study))
    entropy = backbone.config.get("training", {}).get("teacher_entropy", np.nan)
    scores["teacher_entropy"] = np.array([entropy], dtype=np.float64)
    parts, truth, why = select_probe_data(study)
    if why:
        return scores
    scores["truth"] = truth["test"]
    scores |= score_crossval_probes(backbone, study, seed)
    names = dict(zip(parts["train"].image_ids, truth["train"], strict=True))
    seeded = settings.model_copy(update={"seed": seed})
    for fraction in fractions:
        some = select_patient_share(parts["train"], fraction, seed)
        known = truth | {"train": np.stack([names[image_id] for image_id in some.image_ids])}
        answers = score_backbone_probes(backbone, parts | {"train": some}, known, seeded)
        scores |= {f"{format_share_key(fraction)}.{name}": values for name, (values, _) in answers.items()}
    return scores
