"""`compare`: recipes trained with several seeds, judged by attention, probes and fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medprior.cohort import Cohort
from medprior.errors import ConfigError, TrainingFailed
from medprior.evaluate.compare.arm_metrics import arm_estimates, left
from medprior.evaluate.compare.arm_settings import pretrained_by
from medprior.evaluate.compare.context import Compared
from medprior.evaluate.compare.failed_runs import forget_lost, in_words
from medprior.evaluate.compare.mlflow_runs import named_settings, tell_of_runs
from medprior.evaluate.compare.output import written
from medprior.evaluate.compare.plan import check_arms, check_recipes, keep_plan
from medprior.evaluate.compare.run import Run, scores_of
from medprior.evaluate.compare.run_metrics import run_estimates
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.evaluate.inputs import Inputs, Named
from medprior.evaluate.sections.attention import attention_section
from medprior.evaluate.study import Study
from medprior.metrics.differences import (
    Estimates,
    against_priors,
    against_random,
    compared,
    relative,
)
from medprior.observer import Observer, Silent

if TYPE_CHECKING:
    from medprior.priors import SpatialPrior

Metrics = dict[str, dict[str, Any]]


def compare(
    cohort: Path,
    out: Path,
    recipes: Sequence[str],
    prior: Path | None = None,
    settings: CompareSettings | None = None,
    observer: Observer | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    retry: bool = False,
) -> Metrics:
    """Train every arm with every seed and judge them on the test split.

    A comparison that was stopped goes on in the same folder; finished runs are not repeated. A run
    that collapsed or diverged is recorded and left out; its arm rests on the other seeds.

    Args:
        cohort: cohort folder.
        out: `metrics.json`, `table.md`, `features.md`, `low_data.md`, `report.html`, figures, and
            `runs/<arm>-<seed>/` with results, scores and cost.
        recipes: recipes, or names of `settings.arms`; the first is primary, the others are what it
            is compared with.
        prior: spatial prior, for the arms that need one and name none.
        settings: arms, seeds, fractions, budgets.
        observer: told of settings and numbers.
        workers: processes of this machine that share the runs; 0 does one after the other here.
        scheduler: of a Dask cluster whose workers do them, `tcp://HOST:PORT`.
        retry: begin the stages again that were lost.

    Returns:
        The content of `metrics.json`, keys as in `evaluate`; `low_data.<budget>.<measure>`,
        `finetuned_attention.*`, `cost.*`, `runs.*` and the priors as predictors beside.

    Raises:
        ConfigError: an unknown recipe, settings that do not fit, or a folder begun with others.
        TrainingFailed: no run of the first arm is left; the rest is written all the same.
    """
    settings, observer = settings or CompareSettings(), observer or Silent()
    check_spreading(workers, scheduler)
    check_recipes(recipes, settings)
    arms = {name: settings.arm(name, prior) for name in recipes}
    check_arms(arms, settings)
    priors = loaded_priors([prior, *(arm.prior for arm in arms.values())])
    excluded: frozenset[str] = frozenset().union(*(p.item.excluded for p in priors))
    study = Study.of(Cohort.open(cohort), "test", excluded, settings.evaluate)
    keep_plan(out, recipes, settings)
    observer.params({**named_settings(settings), "recipes": ",".join(recipes)})
    runs = prepared(out, arms, settings.seeds, retry)
    if workers > 1 or scheduler is not None:
        from medprior.evaluate.compare.parallel import spread

        every = [run for group in runs.values() for run in group]
        spread(every, cohort, excluded, settings, workers, scheduler)
    groups = gathered(runs, cohort, study, settings, observer)
    inputs = {"cohort": cohort} | {f"prior.{p.name}": p.path for p in priors}
    about = Compared(recipes, study, settings, inputs)
    return concluded(out, about, groups, priors, observer)


def gathered(
    runs: Mapping[str, Sequence[Run]],
    cohort: Path,
    study: Study,
    settings: CompareSettings,
    observer: Observer,
) -> dict[str, Estimates]:
    """Estimates of every arm over its runs; what is not trained or judged yet is done here."""
    groups = {}
    for number, (name, group) in enumerate(runs.items()):
        found = [run_estimates(scores_of(run, cohort, study, settings), study) for run in group]
        tell_of_runs(observer, group, found)
        groups[name] = arm_estimates(group, found, number)
    return groups


def concluded(
    out: Path,
    about: Compared,
    groups: dict[str, Estimates],
    priors: tuple[Named[SpatialPrior], ...],
    observer: Observer,
) -> Metrics:
    """Write everything; TrainingFailed after that where the first arm has no run left."""
    first = about.recipes[0]
    whole = left(groups[first])
    estimates = side_by_side(groups, about.study, priors)
    metrics = written(out, about, estimates, observer, whole)
    if not whole:
        raise TrainingFailed(
            f"no run of the first arm is left: {in_words(metrics['runs.lost'])}",
            where=first,
            fix="change its settings in another folder; the other arms' results are kept",
        )
    return metrics


def side_by_side(
    groups: dict[str, Estimates], study: Study, priors: tuple[Named[SpatialPrior], ...]
) -> Estimates:
    """All estimates: of the data, the first arm, the others, the priors, and their differences."""
    first, *others = groups
    primary, baselines = groups[first], {name: groups[name] for name in others}
    estimates = study.facts() | compared(primary, baselines) | relative(primary, baselines)
    if priors:
        estimates |= attention_section(study, Inputs((), (), priors)).estimates
    estimates |= against_random(primary) | against_priors(estimates)
    return estimates | {
        f"baseline.{name}.{key}": estimate
        for name, baseline in baselines.items()
        for key, estimate in against_random(baseline).items()
    }


def prepared(out: Path, arms: Mapping[str, Arm], seeds: int, retry: bool) -> dict[str, list[Run]]:
    """The runs of every arm, with room for them; with `retry` what was lost is forgotten.

    Arms of the same pretraining start from the same backbones, those of the first among them.
    """
    (out / "runs").mkdir(parents=True, exist_ok=True)
    first = pretrained_by(arms)
    runs = {
        name: [
            Run(out / "runs" / f"{name}-{seed}", arm, seed, out / "runs" / f"{first[name]}-{seed}")
            for seed in range(seeds)
        ]
        for name, arm in arms.items()
    }
    for run in (run for group in runs.values() for run in group if retry):
        forget_lost(run.folder)
    return runs


def check_spreading(workers: int, scheduler: str | None) -> None:
    """ConfigError where workers and scheduler do not go together."""
    if workers < 0 or (workers and scheduler):
        raise ConfigError(
            "either processes of this machine or a cluster",
            where="--workers",
            expected="--workers N from 1 on, or --scheduler tcp://HOST:PORT",
            found=f"--workers {workers}" + (" with --scheduler" if scheduler else ""),
        )


def loaded_priors(paths: Sequence[Path | None]) -> tuple[Named[SpatialPrior], ...]:
    """The priors that are named, each once."""
    from medprior.priors import SpatialPrior

    there = dict.fromkeys(path for path in paths if path is not None)
    return tuple(Named(path.name, path, SpatialPrior.load(path)) for path in there)
