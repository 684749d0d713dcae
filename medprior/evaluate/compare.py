"""`compare`: recipes trained with several seeds, judged by attention, probes and fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medprior.cohort import Cohort
from medprior.errors import ConfigError
from medprior.evaluate.attention_section import attention_section
from medprior.evaluate.compare_table import as_markdown, compare_table
from medprior.evaluate.comparison import Estimates, against_priors, against_random, compared
from medprior.evaluate.evidence import usable
from medprior.evaluate.inputs import Inputs, Named
from medprior.evaluate.interval_figure import draw_intervals
from medprior.evaluate.low_data_figure import draw_low_data
from medprior.evaluate.runs import Run, run_estimates, scores_of
from medprior.evaluate.seeds import over_seeds
from medprior.evaluate.settings import CompareSettings
from medprior.evaluate.study import Study
from medprior.evaluate.summary import attention_groups
from medprior.observer import Observer, Silent
from medprior.pretrain.settings import RECIPES
from medprior.provenance import atomic, write_config, write_json
from medprior.settings import read_mapping

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
) -> Metrics:
    """Train every arm with every seed and judge them on the test split.

    A comparison that was stopped goes on in the same folder; finished runs are not repeated.

    Args:
        cohort: cohort folder.
        out: `metrics.json`, `table.md`, figures, and `runs/<arm>-<seed>/` with results and scores.
        recipes: recipes, or names of `settings.arms`; the first is primary, the others are what it
            is compared with.
        prior: spatial prior, for the arms that need one and name none.
        settings: arms, seeds, fractions, budgets.
        observer: told of settings and numbers.

    Returns:
        The content of `metrics.json`, keys as in `evaluate`; `low_data.<share>.<probe>`,
        `cost.step_seconds` and the priors as predictors beside.

    Raises:
        ConfigError: an unknown recipe, or a folder begun with other settings.
    """
    settings, observer = settings or CompareSettings(), observer or Silent()
    check_recipes(recipes, settings)
    arms = {name: settings.arm(name, prior) for name in recipes}
    priors = loaded_priors([prior, *(arm.prior for arm in arms.values())])
    excluded: frozenset[str] = frozenset().union(*(p.item.excluded for p in priors))
    study = Study.of(Cohort.open(cohort), "test", excluded, settings.evaluate)
    plan = settings.model_dump(mode="json")
    keep_plan(out, {"recipes": list(recipes), **plan})
    observer.params(plan | {"recipes": ",".join(recipes)})
    groups: dict[str, Estimates] = {}
    for number, (name, arm) in enumerate(arms.items()):
        runs = [Run(out / "runs" / f"{name}-{seed}", arm, seed) for seed in range(settings.seeds)]
        every = [run_estimates(scores_of(run, cohort, study, settings), study) for run in runs]
        groups[name] = {key: over_seeds([one[key] for one in every], number) for key in every[0]}
    primary = groups[recipes[0]]
    estimates = study.facts() | compared(primary, {name: groups[name] for name in recipes[1:]})
    if priors:
        estimates |= attention_section(study, Inputs((), (), priors)).estimates
    estimates |= against_random(primary) | against_priors(estimates)
    inputs = {"cohort": cohort} | {f"prior.{p.name}": p.path for p in priors}
    return written(out, recipes, estimates, settings, inputs, observer)


def loaded_priors(paths: Sequence[Path | None]) -> tuple[Named[SpatialPrior], ...]:
    """The priors that are named, each once."""
    from medprior.priors import SpatialPrior

    there = dict.fromkeys(path for path in paths if path is not None)
    return tuple(Named(path.name, path, SpatialPrior.load(path)) for path in there)


def written(
    out: Path,
    recipes: Sequence[str],
    estimates: Estimates,
    settings: CompareSettings,
    inputs: dict[str, Path],
    observer: Observer,
) -> Metrics:
    """Write numbers, table and figures, `config.json` last."""
    metrics = {key: estimate.record() for key, estimate in sorted(estimates.items())}
    write_json(out / "metrics.json", metrics)
    with atomic(out / "table.md") as temporary:
        temporary.write_text(as_markdown(compare_table(metrics, recipes)), encoding="utf-8")
    groups = attention_groups(metrics, recipes[0])
    figures = [
        draw_low_data(out / "low_data.png", metrics, recipes),
        draw_intervals(out / "attention.png", "Attention", "pixel-AP", groups, "Mean over seeds."),
    ]
    outputs = ("metrics.json", "table.md", *(f.path.name for f in figures if f))
    observer.metrics({k: r["value"] for k, r in metrics.items() if usable(r)}, 0)
    for name in outputs:
        observer.artifact(out / name)
    values = settings.model_dump(mode="json")
    facts = {"recipes": list(recipes), "primary": {"attention": recipes[0]}}
    write_config(out, "compare", values, inputs=inputs, outputs=outputs, facts=facts)
    return metrics


def check_recipes(recipes: Sequence[str], settings: CompareSettings) -> None:
    """ConfigError unless these are different arms or recipes of `medprior pretrain`."""
    unknown = [
        name
        for name in recipes
        if name not in settings.arms and set(name.split("+")) - set(RECIPES)
    ]
    if not recipes or unknown or len(set(recipes)) < len(recipes):
        raise ConfigError(
            "not a list of different recipes",
            where="--recipes",
            expected=", ".join(sorted({*RECIPES, *settings.arms})),
            found=", ".join(recipes) or "none",
        )


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
