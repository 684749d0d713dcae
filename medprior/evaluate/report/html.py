"""HTML report of an evaluation: one page without external resources."""

from __future__ import annotations

import base64
import datetime
import io
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from medprior.evaluate.inputs import Inputs
from medprior.evaluate.report.external_table import list_external_cohorts
from medprior.evaluate.report.style import Figure
from medprior.evaluate.report.summary import ReportMetrics, list_key_findings
from medprior.evaluate.report.tables import build_evaluation_tables
from medprior.evaluate.study import EvaluationStudy
from medprior.provenance import atomic_write, collect_versions, find_git_commit, result_digest

EMBEDDED_WIDTH_PX = 1800
WEBP_QUALITY = 88
LEAD_FIGURES = ("attention_compared", "attention_", "finetuned_attention", "attention", "segmentation", "roc")
FIRST_TABLES = 2


def encode_data_uri(path: Path) -> str:
    """A PNG file as a data URI for the page, as WebP where that is smaller; the file itself is for print."""
    from PIL import Image, features

    data, kind = path.read_bytes(), "png"
    if features.check("webp"):
        with Image.open(path) as image:
            image.thumbnail((EMBEDDED_WIDTH_PX, 4 * EMBEDDED_WIDTH_PX))
            stream = io.BytesIO()
            image.convert("RGB").save(stream, "WEBP", quality=WEBP_QUALITY, method=4)
        if len(stream.getvalue()) < len(data):
            data, kind = stream.getvalue(), "webp"
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")


def compute_css_width(path: Path) -> int:
    """Width of a figure in CSS pixels that matches its type to the notes of the page."""
    from PIL import Image

    with Image.open(path) as image:
        return round(image.width * 0.72)


def embed_figures(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """What the templates show of each figure: number, source, width, title, caption, file, whether it leads.

    The leading figure is shown on the first screen: attention of several backbones side by side, else of one, else the
    first figure.
    """
    embedded = [
        {
            "number": number, "source": encode_data_uri(figure.path), "width": compute_css_width(figure.path),
            "title": figure.title, "caption": figure.caption, "file": figure.path.name, "leads": False,
        }
        for number, figure in enumerate(figures, start=1)
    ]  # fmt: skip
    leads = [item for prefix in LEAD_FIGURES for item in embedded if str(item["file"]).startswith(prefix)]
    for item in (leads or embedded)[:1]:
        item["leads"] = True
    return embedded


def list_dataset_names(study: EvaluationStudy) -> list[str]:
    """Names of the data sets whose images were evaluated."""
    return sorted({str(name) for name in study.part.manifest["dataset"]} - {""})


def format_today() -> str:
    """Today's date as in the titles of reports."""
    return datetime.date.today().isoformat()


def format_evaluate_command(study: EvaluationStudy, inputs: Inputs, metrics: ReportMetrics) -> str:
    """The command of this evaluation, with roles in place of paths."""
    words = ["medprior evaluate COHORT EVIDENCE"]
    for role in inputs.folders:
        kind, _, name = role.partition(".")
        words.append(f"--{kind} {name}={kind.upper()}")
    words += [f"--external {name}=COHORT" for name in list_external_cohorts(metrics)]
    words.append(f"--split {study.split}")
    changed = study.settings.model_dump(mode="json", exclude_defaults=True)
    words += [f"--set {key}={json.dumps(value)}" for key, value in changed.items()]
    return " ".join(words)


def list_provenance(study: EvaluationStudy, inputs: Mapping[str, Path], **facts: str) -> dict[str, str]:
    """Rows that identify code and inputs: digests, commit, versions, `facts`, digest of each input."""
    rows = {
        "cohort digest": study.cohort.digest,
        "digest of the evaluated images": study.part.digest,
        "commit": find_git_commit() or "installed package",
        "versions": ", ".join(f"{name} {value}" for name, value in collect_versions().items()),
    }
    return rows | facts | {name: result_digest(path) for name, path in inputs.items()}


def list_cohort_characteristics(metrics: ReportMetrics) -> dict[str, list[tuple[str, str]]]:
    """Composition of the evaluated images: column -> (value, key of `metrics.json`)."""
    kinds = {"view": "projection", "sex": "sex"}
    return {
        name: [(key.rpartition(".")[2], key) for key in metrics if key.startswith(f"data.{kind}.")]
        for kind, name in kinds.items()
    }


def write_evaluation_report(
    path: Path,
    metrics: ReportMetrics,
    figures: Sequence[Figure],
    facts: Mapping[str, Any],
    study: EvaluationStudy,
    inputs: Inputs,
) -> Path:
    """Render the report; every number in it is a cell of `metrics`.

    Args:
        path: where to write.
        metrics: content of `metrics.json`.
        figures: plotted figures, embedded in this order.
        facts: `primary`, `skipped`, `excluded` and `split` as in `config.json`.
        study: the evaluated data.
        inputs: the evaluated results.
    """
    primary = facts["primary"]
    settings = json.dumps(study.settings.model_dump(mode="json"), sort_keys=True)
    return render_template(
        path,
        "report.html",
        split=study.split,
        metrics=metrics,
        names=list(dict.fromkeys(primary.values())),
        today=format_today(),
        datasets=list_dataset_names(study),
        composition=list_cohort_characteristics(metrics),
        findings=list_key_findings(metrics, primary),
        tables=build_evaluation_tables(metrics, primary),
        first_tables=FIRST_TABLES,
        figures=embed_figures(figures),
        facts=facts,
        absent=metrics.get("classification.mauc", {}).get("absent", []),
        resamples=study.settings.resamples,
        command=format_evaluate_command(study, inputs, metrics),
        provenance=list_provenance(study, inputs.folders, settings=settings),
    )


def render_template(path: Path, template: str, **values: Any) -> Path:
    """Render a template of this folder with `values` and write it atomically."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    loader = FunctionLoader(lambda name: resources.files("medprior.evaluate.report").joinpath(name).read_text("utf-8"))
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page = environment.get_template(template).render(**values)
    with atomic_write(path) as temporary:
        temporary.write_text(page.replace("95 %", "95\N{NO-BREAK SPACE}%"), encoding="utf-8")
    return path
