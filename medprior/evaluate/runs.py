"""One run of a comparison: an arm and a seed, trained once, judged once, kept on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medprior.evaluate.attention import AttentionSource
from medprior.evaluate.attention_section import with_masks
from medprior.evaluate.bootstrap import Estimate, average, mean_estimate, ranked_estimates
from medprior.evaluate.comparison import Estimates
from medprior.evaluate.localisation import localise
from medprior.evaluate.model_section import segmentation_scores
from medprior.evaluate.probe import probe_scores
from medprior.evaluate.probe_section import probe_parts
from medprior.evaluate.ranking import Floats
from medprior.evaluate.scatter import scattered
from medprior.evaluate.settings import Arm, CompareSettings
from medprior.evaluate.study import Study
from medprior.evaluate.targets import targets
from medprior.finetune.model import Model, load_model
from medprior.finetune.settings import FinetuneSettings, Task
from medprior.finetune.targets import part_of_patients
from medprior.finetune.training import finetune
from medprior.networks import load_backbone
from medprior.pretrain.pretraining import pretrain
from medprior.pretrain.settings import PretrainSettings
from medprior.provenance import atomic, read_config, write_json
from medprior.settings import merged

SCORES = "scores.npz"
Scores = dict[str, Floats]


@dataclass(frozen=True)
class Run:
    """One arm with one seed, and the folder that keeps it."""

    folder: Path
    arm: Arm
    seed: int


def scores_of(run: Run, cohort: Path, study: Study, settings: CompareSettings) -> Scores:
    """Scores of one run, training and judging it where that is not done yet."""
    backbone = pretrained(run, cohort, settings)
    scores: Scores = {}
    if backbone is not None:
        fractions = settings.fractions
        scores = kept(run.folder / SCORES, lambda: judged(backbone, run.seed, study, fractions))
        scores |= recorded(backbone)
    for task in settings.finetune:
        for fraction in settings.fractions:
            scores |= tuned(run, backbone, cohort, study, settings, task, fraction)
    return scores


def pretrained(run: Run, cohort: Path, settings: CompareSettings) -> Path | None:
    """The run's backbone, trained where that is not done yet; None for an arm from scratch."""
    if run.arm.recipe is None:
        return None
    backbone = run.folder / "backbone"
    if not (backbone / "config.json").is_file():
        start = time.monotonic()
        values = merged(settings.pretrain, run.arm.pretrain)
        values |= {"recipe": run.arm.recipe, "seed": run.seed}
        chosen = PretrainSettings.checked(values)
        pretrain(cohort, backbone, run.arm.prior if chosen.needs_prior else None, chosen)
        write_json(run.folder / "cost.json", {"seconds": round(time.monotonic() - start, 1)})
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
    run: Run, backbone: Path | None, cohort: Path, study: Study, settings: CompareSettings,
    task: Task, fraction: float,
) -> Scores:  # fmt: skip
    """Test scores of one model, `<share>.<task>.<label or structure>` [n]; fine-tuned if needed."""
    name = f"{task}-{share(fraction)}"

    def made() -> Scores:
        folder = run.folder / name
        if not (folder / "config.json").is_file():
            values = merged(settings.finetune[task], run.arm.finetune)
            values |= {"task": task, "seed": run.seed, "fraction": fraction}
            chosen = FinetuneSettings.checked(values)
            finetune(study.cohort, folder, task, backbone, chosen)
        return model_scores(load_model(folder), study, f"{share(fraction)}.{task}.")

    return kept(run.folder / f"{name}.npz", made)


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
    """Per-image scores of one backbone: `ap.<target>` [n], `<share>.<probe>` [n, C], `truth`."""
    backbone, settings = load_backbone(path), study.settings
    wanted = with_masks(study.part, targets(study.cohort.structures, backbone.heads))
    selection = study.selection
    if selection is not None:
        selection = selection.take(settings.selection_images, settings.seed)
    source = AttentionSource(backbone, settings.batch, settings.device)
    found = localise(source, study.part, selection, wanted, settings.map_size)
    scores: Scores = {f"ap.{target}": values for target, values in found.ap.items()}
    scores["spatial_entropy"] = scattered(backbone, study.part, settings.batch, settings.device)
    entropy = backbone.config.get("training", {}).get("teacher_entropy", np.nan)
    scores["teacher_entropy"] = np.array([entropy], dtype=np.float64)
    parts, truth, why = probe_parts(study)
    if why:
        return scores
    scores["truth"] = truth["test"]
    names = dict(zip(parts["train"].image_ids, truth["train"], strict=True))
    seeded = settings.model_copy(update={"seed": seed})
    for fraction in fractions:
        some = part_of_patients(parts["train"], fraction, seed)
        known = truth | {"train": np.stack([names[image_id] for image_id in some.image_ids])}
        answers = probe_scores(backbone, parts | {"train": some}, known, seeded)
        scores |= {f"{share(fraction)}.{name}": values for name, (values, _) in answers.items()}
    return scores


def share(fraction: float) -> str:
    """A fraction as part of a key: 0.1 is `10pct`, 0.001 is `0p1pct`."""
    return f"{100 * fraction:g}".replace(".", "p") + "pct"


def run_estimates(scores: Scores, study: Study) -> Estimates:
    """Estimates of one run from its scores."""
    n, same = len(study.part), np.ones(study.settings.resamples)
    result = under("attention.pixel_ap", named(scores, "ap."), study)
    if "spatial_entropy" in scores:
        result["attention.spatial_entropy"] = mean_estimate(scores["spatial_entropy"], study.draws)
    for key in ("features.teacher_entropy", "features.loca_accuracy", "cost.step_seconds"):
        alone = scores.get(key.replace("features.", ""))
        if alone is not None:
            result[key] = Estimate(float(alone[0]), same * float(alone[0]), 0)
    shares = {key.partition(".")[0] for key in scores if key.partition(".")[0].endswith("pct")}
    for part in sorted(shares):
        rest = named(scores, f"{part}.")
        probes = {key: values for key, values in rest.items() if "." not in key}
        low = {
            name: average(ranked_estimates(scores["truth"], values, study.draws)[0], n)
            for name, values in probes.items()
        }
        whole = {f"features.{name}": found for name, found in low.items()}
        found = findings(named(rest, "classification."), scores, study)
        found |= under("segmentation.dice", named(rest, "segmentation."), study)
        whole |= found
        for key, short in (("classification.mauc", "finetuned_mauc"),
                           ("segmentation.dice.mean", "finetuned_dice")):  # fmt: skip
            if key in found:
                low[short] = found[key]
        result |= {f"low_data.{part}.{name}": value for name, value in low.items()}
        if part == "100pct":
            result |= whole
    return result


def named(scores: Scores, lead: str) -> Scores:
    """The scores whose key starts with `lead`, without it."""
    return {key.removeprefix(lead): v for key, v in scores.items() if key.startswith(lead)}


def under(prefix: str, scores: Scores, study: Study) -> Estimates:
    """Means over images under `<prefix>.<name>`, and `<prefix>.mean` over the names."""
    found = {f"{prefix}.{name}": mean_estimate(v, study.draws) for name, v in scores.items()}
    if found:
        found[f"{prefix}.mean"] = average(list(found.values()), len(study.part))
    return found


def findings(probability: Scores, scores: Scores, study: Study) -> Estimates:
    """`classification.auc.<label>`, `.mauc` and `.map` of a fine-tuned model."""
    if not probability:
        return {}
    truth = np.stack([scores[f"truth.{label}"] for label in probability], axis=1, dtype=np.float64)
    values = np.stack(list(probability.values()), axis=1, dtype=np.float64)
    aucs, precisions = ranked_estimates(truth, values, study.draws)
    result = {f"classification.auc.{k}": auc for k, auc in zip(probability, aucs, strict=True)}
    result["classification.mauc"] = average(aucs, len(study.part))
    result["classification.map"] = average(precisions, len(study.part))
    return result
