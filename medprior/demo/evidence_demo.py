"""Whether a spatial prior pays in findings from few labels: radiographs of children, run by `make evidence`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from medprior.demo.first_stages import annotate_typical_radiograph, ingest_data_set, require_data_sets
from medprior.demo.real_demo import REAL_PRETRAIN, SPAN_ARM
from medprior.demo.stage_pipeline import StagePipeline
from medprior.provenance import write_json
from medprior.settings import Settings

EVIDENCE_SOURCES = ("kermany", "wingspan")
"""Labelled radiographs of children without masks, and annotated ones of adults."""
EVIDENCE_ARMS: dict[str, dict[str, Any]] = {
    "span": SPAN_ARM,
    "dino": {"recipe": "nokoleo"},
    "dino+koleo": {"recipe": "dino"},
    "loca-alone": {"recipe": "loca-alone"},
    "sar+nosn": {"recipe": "sar+nosn"},
}
"""`dino` is plain DINO; `span` and `sar` add their objective to DINO with KoLeo."""


class EvidenceDemoSettings(Settings):
    """Size of the study; the defaults fit one CPU core and three hours.

    Attributes:
        arms: names of `EVIDENCE_ARMS`; the first is compared with the others. seeds: of pretraining, for each arm.
        fractions: shares of the training patients whose labels the probes may use. draws: how often each is drawn.
        workers: processes that run in parallel, as in `medprior compare`.
        pretrain: settings shared by all arms.
        probes: settings of `medprior evaluate`.
        kermany_limit: number of radiographs sampled at random; None for all.
    """

    arms: tuple[str, ...] = tuple(EVIDENCE_ARMS)
    seeds: int = Field(default=3, ge=1)
    fractions: tuple[float, ...] = (1.0, 0.1, 0.05, 0.01)
    draws: int = Field(default=5, ge=1)
    workers: int = Field(default=0, ge=0)
    pretrain: dict[str, Any] = Field(default_factory=lambda: REAL_PRETRAIN | {"steps": 450})
    probes: dict[str, Any] = Field(default_factory=dict)
    kermany_limit: int | None = Field(default=None, ge=1)


def run_evidence_demo(folder: Path, data: Path, settings: EvidenceDemoSettings) -> None:
    """Carry one adult's annotation to every child, pretrain every arm, and probe frozen features with few labels."""
    require_data_sets("--evidence", data, EVIDENCE_SOURCES)
    pipeline = StagePipeline(folder)
    adults, cohort, prior = folder / "adults", folder / "cohort", folder / "prior"
    ingest_data_set(pipeline, "wingspan", data, adults, 256)
    annotation = annotate_typical_radiograph(pipeline, folder, adults)
    limit = () if settings.kermany_limit is None else ("--limit", settings.kermany_limit)
    ingest_data_set(pipeline, "kermany", data, cohort, 256, *limit)
    pipeline.run_stage(
        "One adult's annotation registered to every child", "prior", cohort, prior, "--annotation", annotation,
        "--method", "registered", result=prior / "config.json",
    )  # fmt: skip
    study, evidence = folder / "study.json", folder / "comparison"
    write_json(study, build_few_label_settings(settings))
    pipeline.run_stage(
        "Every arm with every seed, probed on children never seen", "compare", cohort, evidence,
        "--recipes", *settings.arms, "--prior", prior, "--config", study, "--workers", settings.workers,
        result=evidence / "config.json",
    )  # fmt: skip
    print((evidence / "low_data.md").read_text(encoding="utf-8"))
    print(pipeline.format_cost())


def build_few_label_settings(settings: EvidenceDemoSettings) -> dict[str, Any]:
    """Settings of the comparison: frozen probes alone."""
    return {
        "seeds": settings.seeds,
        "fractions": settings.fractions,
        "evaluate": settings.probes | {"probe_draws": settings.draws},
        "pretrain": settings.pretrain,
        "arms": {name: EVIDENCE_ARMS[name] for name in settings.arms},
    }
