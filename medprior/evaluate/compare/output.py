"""Every file of a comparison: numbers, tables, figures, report, and `config.json` last."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medprior.evaluate.compare.context import Compared
from medprior.evaluate.compare.html import write_compare_report
from medprior.evaluate.compare.low_data import low_data_markdown
from medprior.evaluate.compare.low_data_figure import draw_low_data
from medprior.evaluate.compare.markdown import as_markdown, compare_table
from medprior.evaluate.compare.probe_table import probe_markdown
from medprior.evaluate.report.interval_figure import draw_intervals
from medprior.evaluate.report.style import Figure
from medprior.evaluate.report.summary import Metrics, Record, attention_groups, parts
from medprior.metrics.bootstrap import usable
from medprior.metrics.differences import Estimates
from medprior.observer import Observer
from medprior.provenance import atomic, write_config, write_json

Written = dict[str, dict[str, Any]]
Groups = list[tuple[str, dict[str, Record]]]


def written(
    out: Path, about: Compared, estimates: Estimates, observer: Observer, whole: bool
) -> Written:
    """Write numbers, tables, figures and report; `config.json` last, and only of a `whole` one."""
    metrics = {key: estimate.record() for key, estimate in sorted(estimates.items())}
    write_json(out / "metrics.json", metrics)
    texts = {
        "table.md": as_markdown(compare_table(metrics, about.recipes)),
        "features.md": probe_markdown(metrics, about.recipes),
        "low_data.md": low_data_markdown(metrics, about.recipes),
    }
    texts = {name: text for name, text in texts.items() if text}
    for name, text in texts.items():
        with atomic(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    figures = drawn(out, metrics, about.recipes)
    report = write_compare_report(out / "report.html", metrics, figures, about)
    outputs = ("metrics.json", *texts, *(f.path.name for f in figures), report.name)
    observer.metrics({k: r["value"] for k, r in metrics.items() if usable(r)}, 0)
    for name in outputs:
        observer.artifact(out / name)
    if whole:
        values = about.settings.model_dump(mode="json")
        facts = {"recipes": list(about.recipes), "primary": {"attention": about.recipes[0]}}
        write_config(out, "compare", values, inputs=about.inputs, outputs=outputs, facts=facts)
    return metrics


def in_order(groups: Groups, recipes: Sequence[str]) -> Groups:
    """Groups with the arms as they were named, what is no arm after them."""
    return [
        (name, {arm: rows[arm] for arm in dict.fromkeys([*recipes, *rows]) if arm in rows})
        for name, rows in groups
    ]


def drawn(out: Path, metrics: Metrics, recipes: Sequence[str]) -> list[Figure]:
    """The figures there are numbers for, in the order of the report."""
    note = "Mean over seeds, with 95 % intervals over resampled patients and seeds. "
    priors = any(key.split(".")[0] in ("prior", "registered_prior") for key in metrics)
    baseline = "The priors as predictors are the baselines." if priors else ""
    kinds = {
        "attention": ("Attention of backbones", baseline),
        "finetuned_attention": (
            "Attention after fine-tuning",
            "Of classifiers from all labels; arms from scratch take their best heads on validation "
            f"images. {baseline}",
        ),
    }
    found = [
        draw_intervals(
            out / f"{kind}.png", title, "pixel-AP",
            in_order(attention_groups(metrics, recipes[0], kind), recipes), note + caption,
        )
        for kind, (title, caption) in kinds.items()
        if parts(metrics, f"{kind}.pixel_ap")
    ]  # fmt: skip
    return [f for f in (draw_low_data(out / "low_data.png", metrics, recipes), *found) if f]
