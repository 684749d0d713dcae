"""Comparison of recipes over several seeds by attention, probes and fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medprior.cohort import Cohort
from medprior.errors import ConfigError, TrainingFailed
from medprior.evaluate.compare.arm_metrics import estimate_arm_metrics, has_finished_run
from medprior.evaluate.compare.context import ComparisonContext
from medprior.evaluate.compare.failed_runs import clear_failed_stages, format_failures
from medprior.evaluate.compare.mlflow_runs import dump_compare_settings, log_nested_runs
from medprior.evaluate.compare.output import write_comparison
from medprior.evaluate.compare.plan import check_arms, check_recipes, find_shared_backbones, save_or_check_plan
from medprior.evaluate.compare.run import ComparisonRun, score_run
from medprior.evaluate.compare.run_metrics import estimate_run_metrics
from medprior.evaluate.compare.settings import Arm, CompareSettings
from medprior.evaluate.inputs import Inputs, NamedInput
from medprior.evaluate.sections.attention import evaluate_attention
from medprior.evaluate.study import EvaluationStudy
from medprior.locks import PRIVATE_FOLDER_MODE
from medprior.metrics.differences import (
    Estimates,
    add_baseline_differences,
    compare_spatial_entropies,
    compute_prior_differences,
    compute_random_init_differences,
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
    """Train every arm with every seed and evaluate them on the test split.

    A stopped comparison continues in the same folder without repeating finished runs. A run that
    collapsed or diverged is recorded and left out of the means of its arm.

    Args:
        cohort: cohort folder.
        out: `metrics.json`, `table.md`, `features.md`, `low_data.md`, `report.html`, figures, and
            `runs/<arm>-<seed>/` with results, scores and cost.
        recipes: recipes, or names of `settings.arms`; the first is primary, the others are its
            baselines.
        prior: spatial prior of the arms that need one and name none.
        settings: arms, seeds, fractions, budgets.
        observer: records settings and numbers.
        workers: processes of this machine that share the runs; 0 runs one after the other here.
        scheduler: of a Dask cluster that executes the runs, `tcp://HOST:PORT`.
        retry: run failed stages again.

    Returns:
        The content of `metrics.json`, keys as in `evaluate`; `low_data.<budget>.<measure>`,
        `finetuned_attention.*`, `cost.*`, `runs.*` and the priors as predictors are added.

    Raises:
        ConfigError: an unknown recipe, invalid settings, or a folder of another comparison.
        TrainingFailed: no run of the first arm finished; all other results are still written.
    """
    settings, observer = settings or CompareSettings(), observer or NullObserver()
    check_parallel_options(workers, scheduler)
    check_recipes(recipes, settings)
    arms = {name: settings.arm(name, prior) for name in recipes}
    check_arms(arms, settings)
    priors = load_priors([prior, *(arm.prior for arm in arms.values())])
    excluded: frozenset[str] = frozenset().union(*(entry.item.excluded for entry in priors))
    study = EvaluationStudy.of(Cohort.open(cohort), "test", excluded, settings.evaluate)
    save_or_check_plan(out, recipes, settings)
    observer.params({**dump_compare_settings(settings), "recipes": ",".join(recipes)})
    runs = prepare_runs(out, arms, settings.seeds, retry)
    if workers > 1 or scheduler is not None:
        from medprior.evaluate.compare.parallel import execute_runs_parallel

        all_runs = [run for group in runs.values() for run in group]
        execute_runs_parallel(all_runs, cohort, excluded, settings, workers, scheduler)
    groups = evaluate_arms(runs, cohort, study, settings, observer)
    inputs = {"cohort": cohort} | {f"prior.{entry.name}": entry.path for entry in priors}
    context = ComparisonContext(recipes, study, settings, inputs)
    return finish_comparison(out, context, groups, priors, observer)


def evaluate_arms(
    runs: Mapping[str, Sequence[ComparisonRun]],
    cohort: Path,
    study: EvaluationStudy,
    settings: CompareSettings,
    observer: Observer,
) -> dict[str, Estimates]:
    """Estimates of every arm over its runs; missing runs are trained and evaluated here."""
    groups = {}
    for number, (name, group) in enumerate(runs.items()):
        run_estimates = [estimate_run_metrics(score_run(run, cohort, study, settings), study) for run in group]
        log_nested_runs(observer, group, run_estimates)
        groups[name] = estimate_arm_metrics(group, run_estimates, number)
    return groups


def finish_comparison(
    out: Path,
    context: ComparisonContext,
    groups: dict[str, Estimates],
    priors: tuple[NamedInput[SpatialPrior], ...],
    observer: Observer,
) -> ComparisonMetrics:
    """Write all files, then raise TrainingFailed if no run of the first arm finished."""
    first = context.recipes[0]
    complete = has_finished_run(groups[first])
    estimates = estimate_comparison(groups, context.study, priors)
    metrics = write_comparison(out, context, estimates, observer, complete)
    if not complete:
        raise TrainingFailed(
            f"no run of the first arm finished: {format_failures(metrics['runs.lost'])}",
            where=first,
            fix="change its settings in another folder; the other arms' results are kept",
        )
    return metrics


def estimate_comparison(
    groups: dict[str, Estimates], study: EvaluationStudy, priors: tuple[NamedInput[SpatialPrior], ...]
) -> Estimates:
    """Estimates of the data, the first arm, its baselines, the priors, and their differences."""
    first, *baseline_names = groups
    primary, baselines = groups[first], {name: groups[name] for name in baseline_names}
    estimates = (
        study.summarise_data()
        | add_baseline_differences(primary, baselines)
        | compare_spatial_entropies(primary, baselines)
    )
    if priors:
        estimates |= evaluate_attention(study, Inputs((), (), priors)).estimates
    estimates |= compute_random_init_differences(primary) | compute_prior_differences(estimates)
    return estimates | {
        f"baseline.{name}.{key}": estimate
        for name, baseline in baselines.items()
        for key, estimate in compute_random_init_differences(baseline).items()
    }


def prepare_runs(out: Path, arms: Mapping[str, Arm], seeds: int, retry: bool) -> dict[str, list[ComparisonRun]]:
    """The runs of every arm, in a new or existing folder; `retry` clears failed stages.

    Arms with the same pretraining share the backbones of the first of them.
    """
    out.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
    (out / "runs").mkdir(exist_ok=True)
    backbone_arms = find_shared_backbones(arms)
    runs = {
        name: [
            ComparisonRun(out / "runs" / f"{name}-{seed}", arm, seed, out / "runs" / f"{backbone_arms[name]}-{seed}")
            for seed in range(seeds)
        ]
        for name, arm in arms.items()
    }
    for run in (run for group in runs.values() for run in group if retry):
        clear_failed_stages(run.folder)
    return runs


def check_parallel_options(workers: int, scheduler: str | None) -> None:
    """ConfigError if `workers` is negative or both options are given."""
    if workers < 0 or (workers and scheduler):
        raise ConfigError(
            "--workers and --scheduler exclude each other, and --workers must not be negative",
            where="--workers",
            expected="--workers N from 1 on, or --scheduler tcp://HOST:PORT",
            found=f"--workers {workers}" + (" with --scheduler" if scheduler else ""),
        )


def load_priors(paths: Sequence[Path | None]) -> tuple[NamedInput[SpatialPrior], ...]:
    """The spatial priors in `paths`, without duplicates."""
    from medprior.priors import SpatialPrior

    unique_paths = dict.fromkeys(path for path in paths if path is not None)
    return tuple(NamedInput(path.name, path, SpatialPrior.load(path)) for path in unique_paths)
