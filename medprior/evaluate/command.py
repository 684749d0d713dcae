"""`medprior evaluate`: evaluate backbones, models and priors on one split."""

from __future__ import annotations

import argparse
from pathlib import Path

from medprior.evaluate.settings import EvaluateSettings
from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="a cohort folder")
    parser.add_argument("evidence", type=Path, metavar="EVIDENCE", help="where to write")
    for kind, help_text in (
        ("backbone", "backbone; the first is compared with the others"),
        ("model", "model; the first of each task is compared with the others"),
        ("prior", "prior, evaluated as a predictor"),
    ):
        parser.add_argument(f"--{kind}", action="append", default=[], metavar="[NAME=]PATH", help=help_text)
    parser.add_argument("--split", default="test", choices=("train", "val", "test", "all"))
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="CSV",
        help="boxes of findings: image_id,label,x,y,width,height",
    )
    parser.add_argument(
        "--external",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="another cohort, evaluated without training on it",
    )
    parser.add_argument("--device", help="auto, cpu or cuda:N (default: auto, CUDA where there is one)")
    parser.add_argument("--config", type=Path, help="settings as JSON or YAML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


def result_folder(args: argparse.Namespace) -> Path:
    """The evidence folder."""
    folder: Path = args.evidence
    return folder


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Evaluate and print the headline numbers."""
    overrides = [f"device={args.device}"] if args.device else []
    settings = EvaluateSettings.load(args.config, [*overrides, *args.set])
    from medprior.evaluate.evaluate import evaluate_cohort
    from medprior.evaluate.report.external_table import format_external_table
    from medprior.evaluate.report.summary import format_headlines
    from medprior.provenance import read_config

    metrics = evaluate_cohort(
        args.cohort,
        args.evidence,
        backbone=args.backbone,
        model=args.model,
        prior=args.prior,
        split=args.split,
        settings=settings,
        observer=observer,
        boxes=args.boxes,
        external=args.external,
    )
    print(format_headlines(metrics, read_config(args.evidence, "evaluate")["primary"]))
    if args.external:
        print(format_external_table(metrics))
    print(f"report: {args.evidence / 'report.html'}")
