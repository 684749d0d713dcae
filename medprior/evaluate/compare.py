"""`compare`: recipes pretrained with several seeds, judged by attention and probes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medprior.cohort import Cohort
from medprior.errors import ConfigError
from medprior.evaluate.comparison import Estimates, against_random, compared
from medprior.evaluate.low_data_figure import draw_low_data
from medprior.evaluate.runs import Run, run_estimates, scores_of
from medprior.evaluate.seeds import over_seeds
from medprior.evaluate.settings import CompareSettings
from medprior.evaluate.study import Study
from medprior.observer import Observer, Silent
from medprior.pretrain.settings import RECIPES
from medprior.provenance import write_config, write_json
from medprior.settings import read_mapping

Metrics = dict[str, dict[str, Any]]


def compare(
    cohort: Path,
    out: Path,
    recipes: Sequence[str],
    prior: Path | None = None,
    settings: CompareSettings | None = None,
    observer: Observer | None = None,
) -> Metrics:
    """Pretrain every recipe with every seed and judge them on the test split.

    A comparison that was stopped goes on in the same folder; finished runs are not repeated.

    Args:
        cohort: cohort folder.
        out: `metrics.json`, `low_data.png`, and `runs/<recipe>-<seed>/` with backbone and scores.
        recipes: the first is primary, the others are what it is compared with.
        prior: spatial prior, for the recipes that need one.
        settings: seeds, fractions, budgets.
        observer: told of settings and numbers.

    Returns:
        The content of `metrics.json`, keys as in `evaluate`; `low_data.<share>.<probe>` beside.

    Raises:
        ConfigError: an unknown recipe, or a folder begun with other settings.
    """
    settings, observer = settings or CompareSettings(), observer or Silent()
    check_recipes(recipes)
    study = Study.of(Cohort.open(cohort), "test", excluded(prior), settings.evaluate)
    keep_plan(out, {"recipes": list(recipes), **settings.model_dump(mode="json")})
    observer.params(settings.model_dump(mode="json") | {"recipes": ",".join(recipes)})
    groups: dict[str, Estimates] = {}
    for number, recipe in enumerate(recipes):
        runs = [
            Run(out / "runs" / f"{recipe}-{seed}", recipe, seed) for seed in range(settings.seeds)
        ]
        every = [
            run_estimates(scores_of(run, cohort, prior, study, settings), study) for run in runs
        ]
        groups[recipe] = {key: over_seeds([one[key] for one in every], number) for key in every[0]}
    primary = groups[recipes[0]]
    estimates = study.facts() | compared(primary, {name: groups[name] for name in recipes[1:]})
    estimates |= against_random(primary)
    inputs = {"cohort": cohort} | ({"prior": prior} if prior else {})
    return written(out, recipes, estimates, settings, inputs, observer)


def written(
    out: Path,
    recipes: Sequence[str],
    estimates: Estimates,
    settings: CompareSettings,
    inputs: dict[str, Path],
    observer: Observer,
) -> Metrics:
    """Write numbers and figure, `config.json` last."""
    metrics = {key: estimate.record() for key, estimate in sorted(estimates.items())}
    write_json(out / "metrics.json", metrics)
    figure = draw_low_data(out / "low_data.png", metrics, recipes)
    outputs = ("metrics.json", *(["low_data.png"] if figure else []))
    observer.metrics({k: r["value"] for k, r in metrics.items() if r["value"] is not None}, 0)
    for name in outputs:
        observer.artifact(out / name)
    values = settings.model_dump(mode="json")
    facts = {"recipes": list(recipes), "primary": {"attention": recipes[0]}}
    write_config(out, "compare", values, inputs=inputs, outputs=outputs, facts=facts)
    return metrics


def check_recipes(recipes: Sequence[str]) -> None:
    """ConfigError unless these are different recipes of `medprior pretrain`."""
    if not recipes or set(recipes) - set(RECIPES) or len(set(recipes)) < len(recipes):
        raise ConfigError(
            "not a list of different recipes",
            where="--recipes",
            expected=", ".join(sorted(RECIPES)),
            found=", ".join(recipes) or "none",
        )


def excluded(prior: Path | None) -> frozenset[str]:
    """Images the prior was made from."""
    if prior is None:
        return frozenset()
    from medprior.priors import SpatialPrior

    return SpatialPrior.load(prior).excluded


def keep_plan(out: Path, plan: dict[str, Any]) -> None:
    """Write down what a folder compares, or check that it is the same as when it was begun."""
    path = out / "plan.json"
    if not path.is_file():
        write_json(path, plan)
    elif read_mapping(path) != plan:
        raise ConfigError(
            "this comparison was begun with other recipes or settings",
            where=out.name,
            fix="use the same ones to go on, or another folder",
        )
