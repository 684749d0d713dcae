"""`compare`: recipes trained with several seeds, judged by attention, probes and fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medprior.cohort import Cohort
from medprior.errors import ConfigError, TrainingFailed
from medprior.evaluate.compare.arm_metrics import estimate_arm_metrics, has_runs_left
from medprior.evaluate.compare.arm_settings import find_shared_backbones
from medprior.evaluate.compare.context import ComparisonContext
from medprior.evaluate.compare.failed_runs import clear_failed_stages, format_failures
from medprior.evaluate.compare.mlflow_runs import dump_compare_settings, log_nested_runs
from medprior.evaluate.compare.output import write_comparison
from medprior.evaluate.compare.plan import check_arms, check_recipes, save_or_check_plan
from medprior.evaluate.compare.run import ComparisonRun, score_run
from medprior.evaluate.compare.run_metrics import estimate_run_metrics
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.sections.attention import evaluate_attention
from medprior.evaluate.study import EvaluationStudy
from medprior.metrics.differences import (
    Estimates,
    add_baseline_differences,
    compute_prior_differences,
    compute_random_differences,
    compute_relative_differences,
)
from medprior.observer import NullObserver, Observer

if TYPE_CHECKING:
    from medprior.priors import SpatialPrior

ComparisonMetrics = dict[str, dict[str, Any]]


def compare_recipes(
    cohort: Path,
    out: Path,
    recipes: Sequence[str],
    prior: Path | None = None,
    settings: CompareSettings | None = None,
    observer: Observer | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    retry: bool = False,
) -> ComparisonMetrics:
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
    settings, observer = settings or CompareSettings(), observer or NullObserver()
    check_parallel_options(workers, scheduler)
    check_recipes(recipes, settings)
    arms = {name: settings.arm(name, prior) for name in recipes}
    check_arms(arms, settings)
    priors = load_priors([prior, *(arm.prior for arm in arms.values())])
    excluded: frozenset[str] = frozenset().union(*(p.item.excluded for p in priors))
    study = EvaluationStudy.of(Cohort.open(cohort), "test", excluded, settings.evaluate)
    save_or_check_plan(out, recipes, settings)
    observer.params({**dump_compare_settings(settings), "recipes": ",".join(recipes)})
    runs = prepare_runs(out, arms, settings.seeds, retry)
    if workers > 1 or scheduler is not None:
        from medprior.evaluate.compare.parallel import execute_runs_parallel

        every = [run for group in runs.values() for run in group]
        execute_runs_parallel(every, cohort, excluded, settings, workers, scheduler)
    groups = evaluate_arms(runs, cohort, study, settings, observer)
    inputs = {"cohort": cohort} | {f"prior.{p.name}": p.path for p in priors}
    about = ComparisonContext(recipes, study, settings, inputs)
    return finish_comparison(out, about, groups, priors, observer)


def evaluate_arms(
    runs: Mapping[str, Sequence[ComparisonRun]],
    cohort: Path,
    study: EvaluationStudy,
    settings: CompareSettings,
    observer: Observer,
) -> dict[str, Estimates]:
    """Estimates of every arm over its runs; what is not trained or judged yet is done here."""
    groups = {}
    for number, (name, group) in enumerate(runs.items()):
        found = [estimate_run_metrics(score_run(run, cohort, study, settings), study) for run in group]
        log_nested_runs(observer, group, found)
        groups[name] = estimate_arm_metrics(group, found, number)
    return groups


def finish_comparison(
    out: Path,
    about: ComparisonContext,
    groups: dict[str, Estimates],
    priors: tuple[NamedInput[SpatialPrior], ...],
    observer: Observer,
) -> ComparisonMetrics:
    """Write everything; TrainingFailed after that where the first arm has no run left."""
    first = about.recipes[0]
    whole = has_runs_left(groups[first])
    estimates = estimate_comparison(groups, about.study, priors)
    metrics = write_comparison(out, about, estimates, observer, whole)
    if not whole:
        raise TrainingFailed(
            f"no run of the first arm is left: {format_failures(metrics['runs.lost'])}",
            where=first,
            fix="change its settings in another folder; the other arms' results are kept",
        )
    return metrics


def estimate_comparison(
    groups: dict[str, Estimates], study: EvaluationStudy, priors: tuple[NamedInput[SpatialPrior], ...]
) -> Estimates:
    """All estimates: of the data, the first arm, the others, the priors, and their differences."""
    first, *others = groups
    primary, baselines = groups[first], {name: groups[name] for name in others}
    estimates = (
        study.facts() | add_baseline_differences(primary, baselines) | compute_relative_differences(primary, baselines)
    )
    if priors:
        estimates |= evaluate_attention(study, Inputs((), (), priors)).estimates
    estimates |= compute_random_differences(primary) | compute_prior_differences(estimates)
    return estimates | {
        f"baseline.{name}.{key}": estimate
        for name, baseline in baselines.items()
        for key, estimate in compute_random_differences(baseline).items()
    }


def prepare_runs(out: Path, arms: Mapping[str, Arm], seeds: int, retry: bool) -> dict[str, list[ComparisonRun]]:
    """The runs of every arm, with room for them; with `retry` what was lost is forgotten.

    Arms of the same pretraining start from the same backbones, those of the first among them.
    """
    (out / "runs").mkdir(parents=True, exist_ok=True)
    first = find_shared_backbones(arms)
    runs = {
        name: [
            ComparisonRun(out / "runs" / f"{name}-{seed}", arm, seed, out / "runs" / f"{first[name]}-{seed}")
            for seed in range(seeds)
        ]
        for name, arm in arms.items()
    }
    for run in (run for group in runs.values() for run in group if retry):
        clear_failed_stages(run.folder)
    return runs


def check_parallel_options(workers: int, scheduler: str | None) -> None:
    """ConfigError where workers and scheduler do not go together."""
    if workers < 0 or (workers and scheduler):
        raise ConfigError(
            "either processes of this machine or a cluster",
            where="--workers",
            expected="--workers N from 1 on, or --scheduler tcp://HOST:PORT",
            found=f"--workers {workers}" + (" with --scheduler" if scheduler else ""),
        )


def load_priors(paths: Sequence[Path | None]) -> tuple[NamedInput[SpatialPrior], ...]:
    """The priors that are named, each once."""
    from medprior.priors import SpatialPrior

    there = dict.fromkeys(path for path in paths if path is not None)
    return tuple(NamedInput(path.name, path, SpatialPrior.load(path)) for path in there)
