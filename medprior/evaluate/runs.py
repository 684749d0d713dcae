"""One run of a comparison: a recipe and a seed, pretrained once, judged once, kept on disk."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medprior.evaluate.attention import AttentionSource
from medprior.evaluate.attention_section import with_masks
from medprior.evaluate.bootstrap import Estimate, average, mean_estimate, ranked_estimates
from medprior.evaluate.comparison import Estimates
from medprior.evaluate.localisation import localise
from medprior.evaluate.probe import probe_scores
from medprior.evaluate.probe_section import probe_parts
from medprior.evaluate.ranking import Floats
from medprior.evaluate.settings import CompareSettings
from medprior.evaluate.study import Study
from medprior.evaluate.targets import targets
from medprior.finetune.targets import part_of_patients
from medprior.networks import load_backbone
from medprior.pretrain.pretraining import pretrain
from medprior.pretrain.settings import PretrainSettings
from medprior.provenance import atomic, write_json

SCORES = "scores.npz"
Scores = dict[str, Floats]


@dataclass(frozen=True)
class Run:
    """One recipe with one seed, and the folder that keeps it."""

    folder: Path
    recipe: str
    seed: int


def scores_of(
    run: Run, cohort: Path, prior: Path | None, study: Study, settings: CompareSettings
) -> Scores:
    """Scores of one run, pretraining and judging it where that is not done yet."""
    backbone = run.folder / "backbone"
    if not (backbone / "config.json").is_file():
        start = time.monotonic()
        chosen = PretrainSettings.load(None, **settings.pretrain, recipe=run.recipe, seed=run.seed)
        pretrain(cohort, backbone, prior if chosen.span.weight else None, chosen)
        write_json(run.folder / "cost.json", {"seconds": round(time.monotonic() - start, 1)})
    if not (run.folder / SCORES).is_file():
        scores = judged(backbone, run.seed, study, settings.fractions)
        with atomic(run.folder / SCORES) as temporary:
            np.savez_compressed(temporary, **scores)  # type: ignore[arg-type]
    with np.load(run.folder / SCORES, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


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
    ap = {
        f"attention.pixel_ap.{key.removeprefix('ap.')}": mean_estimate(values, study.draws)
        for key, values in scores.items()
        if key.startswith("ap.")
    }
    result: Estimates = dict(ap)
    if ap:
        result["attention.pixel_ap.mean"] = average(list(ap.values()), len(study.part))
    for key, values in scores.items():
        part, dot, name = key.partition(".")
        if dot and part.endswith("pct"):
            aucs, _ = ranked_estimates(scores["truth"], values, study.draws)
            result[f"low_data.{part}.{name}"] = average(aucs, len(study.part))
            if part == "100pct":
                result[f"features.{name}"] = result[f"low_data.{part}.{name}"]
    entropy = float(scores["teacher_entropy"][0])
    same = np.full(study.settings.resamples, entropy)
    result["features.teacher_entropy"] = Estimate(entropy, same, 0)
    return result
