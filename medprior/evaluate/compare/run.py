"""One run of a comparison: an arm and a seed, trained once, judged once, kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from medprior.errors import TrainingFailed
from medprior.evaluate.compare.arm_settings import finetuning, pretraining, tasks_of
from medprior.evaluate.compare.cost import cost_scores, measured
from medprior.evaluate.compare.failed_runs import BACKBONE, lost_backbone, lost_stages, note_lost
from medprior.evaluate.compare.label_budgets import Budget, budgets, share
from medprior.evaluate.compare.run_metrics import Scores
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.evaluate.localisation.attention_scores import as_backbone, attention_scores
from medprior.evaluate.probes.cross_validation import cross_scores
from medprior.evaluate.probes.probe_parts import probe_parts
from medprior.evaluate.probes.probes import probe_scores
from medprior.evaluate.sections.models import segmentation_scores
from medprior.evaluate.study import Study
from medprior.finetune.model import Model, load_model
from medprior.finetune.settings import Task
from medprior.finetune.targets import part_of_patients
from medprior.finetune.training import finetune
from medprior.networks import load_backbone
from medprior.pretrain.pipeline import pretrain
from medprior.provenance import alone_in, atomic, read_config

SCORES = "scores.npz"


@dataclass(frozen=True)
class Run:
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


def scores_of(run: Run, cohort: Path, study: Study, settings: CompareSettings) -> Scores:
    """Scores of one run, training and judging it where that is not done yet.

    A stage that stopped itself is recorded and left out; without its backbone a run has no scores.
    """
    backbone = None
    if BACKBONE not in lost_stages(run.source):
        try:
            backbone = pretrained(run, cohort, settings)
        except TrainingFailed as error:
            note_lost(run.source, BACKBONE, error)
    if lost_backbone(run.folder, run.source):
        return {}
    scores: Scores = {}
    if backbone is not None:
        fractions = settings.fractions
        scores = kept(run.source / SCORES, lambda: judged(backbone, run.seed, study, fractions))
        scores |= recorded(backbone)
    for task in tasks_of(run.arm, settings):
        for budget in budgets(settings, task, run.arm):
            scores |= tuned(run, backbone, study, settings, task, budget)
    costs = {key: np.array([value]) for key, value in cost_scores(run.folder).items()}
    return scores | costs


def files_of(run: Run, settings: CompareSettings) -> dict[str, tuple[Path, ...]]:
    """Stage -> the files of scores that say it is done."""
    found: dict[str, tuple[Path, ...]] = {}
    if run.arm.recipe is not None:
        found[BACKBONE] = (run.source / SCORES,)
    for task in tasks_of(run.arm, settings):
        for budget in budgets(settings, task, run.arm):
            stage = f"{task}-{budget.name}"
            more = (attention_file(run, stage),) if shows_attention(task, budget) else ()
            found[stage] = (run.folder / f"{stage}.npz", *more)
    return found


def complete(run: Run, settings: CompareSettings) -> bool:
    """Whether nothing is left to train or to judge."""
    lost = lost_stages(run.folder)
    if BACKBONE in lost:
        return True
    wanted = files_of(run, settings)
    return all(
        stage in lost or all(path.is_file() for path in files) for stage, files in wanted.items()
    )


def shows_attention(task: Task, budget: Budget) -> bool:
    """Whether a model's attention is measured: that of classifiers from all labels."""
    return task == "classification" and budget.name == "100pct"


def attention_file(run: Run, stage: str) -> Path:
    """Where the attention of a fine-tuned model is kept."""
    return run.folder / f"{stage}-attention.npz"


def pretrained(run: Run, cohort: Path, settings: CompareSettings) -> Path | None:
    """The run's backbone, trained where that is not done yet; None for an arm from scratch."""
    if run.arm.recipe is None:
        return None
    backbone = run.source / BACKBONE
    with alone_in(run.source, ".pretraining"):
        if not (backbone / "config.json").is_file():
            chosen = pretraining(run.arm, run.seed, settings)
            with measured(run.source, BACKBONE):
                pretrain(cohort, backbone, run.arm.prior if chosen.needs_prior else None, chosen)
    return backbone


def recorded(backbone: Path) -> Scores:
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


def kept(path: Path, made: Callable[[], Scores]) -> Scores:
    """Scores from `path`, made and written there first where they are missing."""
    if not path.is_file():
        with atomic(path) as temporary:
            np.savez_compressed(temporary, **made())  # type: ignore[arg-type]
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def tuned(
    run: Run, backbone: Path | None, study: Study, settings: CompareSettings,
    task: Task, budget: Budget,
) -> Scores:  # fmt: skip
    """Test scores of one model, `<budget>.<task>.<label or structure>` [n]; trained if needed.

    Of a classifier from all labels the attention too, under `tuned.`.
    """
    stage = f"{task}-{budget.name}"
    if stage in lost_stages(run.folder):
        return {}
    model = cache(partial(trained, run, backbone, study, settings, task, budget))
    lead = f"{budget.name}.{task}."
    try:
        scores = kept(run.folder / f"{stage}.npz", lambda: model_scores(model(), study, lead))
        if shows_attention(task, budget):
            scores |= kept(attention_file(run, stage), lambda: tuned_attention(model(), study))
    except TrainingFailed as error:
        note_lost(run.folder, stage, error)
        return {}
    return scores


def trained(
    run: Run, backbone: Path | None, study: Study, settings: CompareSettings,
    task: Task, budget: Budget,
) -> Model:  # fmt: skip
    """One of the run's models, trained where that is not done yet."""
    stage = f"{task}-{budget.name}"
    folder = run.folder / stage
    if not (folder / "config.json").is_file():
        chosen = finetuning(run.arm, run.seed, settings, task, budget)
        prior = run.arm.prior if chosen.needs_prior else None
        with measured(run.folder, stage):
            finetune(study.cohort, folder, task, backbone, chosen, prior=prior)
    return load_model(folder)


def tuned_attention(model: Model, study: Study) -> Scores:
    """`tuned.ap.<target>` and `tuned.spatial_entropy` [n]; nothing of a model without heads."""
    backbone = as_backbone(model)
    found = attention_scores(backbone, study) if backbone is not None else {}
    return {f"tuned.{name}": values for name, values in found.items()}


def model_scores(model: Model, study: Study, lead: str) -> Scores:
    """Probability of every label with its truth beside it, or Dice of every structure, [n] each."""
    if model.task == "segmentation":
        scores, _ = segmentation_scores(study.part, model)
        return {f"{lead}{name}": one["dice"] for name, one in scores.items()}
    truth = study.part.labels(list(model.labels))
    found = dict(zip(model.labels, model.predict_cohort(study.part).T, strict=True))
    answers = {f"{lead}{label}": values for label, values in found.items()}
    return answers | {f"truth.{label}": t for label, t in zip(model.labels, truth.T, strict=True)}


def judged(path: Path, seed: int, study: Study, fractions: Sequence[float]) -> Scores:
    """Per-image scores of one backbone: `ap.<target>` [n], `<share>.<probe>` [n, C], `truth`.

    With `probe_folds` also `crossval.<probe>` of the whole cohort.
    """
    backbone, settings = load_backbone(path), study.settings
    scores: Scores = dict(attention_scores(backbone, study))
    entropy = backbone.config.get("training", {}).get("teacher_entropy", np.nan)
    scores["teacher_entropy"] = np.array([entropy], dtype=np.float64)
    parts, truth, why = probe_parts(study)
    if why:
        return scores
    scores["truth"] = truth["test"]
    scores |= cross_scores(backbone, study, seed)
    names = dict(zip(parts["train"].image_ids, truth["train"], strict=True))
    seeded = settings.model_copy(update={"seed": seed})
    for fraction in fractions:
        some = part_of_patients(parts["train"], fraction, seed)
        known = truth | {"train": np.stack([names[image_id] for image_id in some.image_ids])}
        answers = probe_scores(backbone, parts | {"train": some}, known, seeded)
        scores |= {f"{share(fraction)}.{name}": values for name, (values, _) in answers.items()}
    return scores
