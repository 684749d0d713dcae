"""`medprior compare`: train and compare recipes with several seeds and intervals."""

from __future__ import annotations

import argparse
from pathlib import Path

from medprior.evaluate.compare.settings import CompareSettings
from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="a cohort folder")
    parser.add_argument("evidence", type=Path, metavar="EVIDENCE", help="where to write, or continue")
    parser.add_argument("--recipes", nargs="+", required=True, metavar="RECIPE")
    parser.add_argument("--prior", type=Path, help="spatial prior, for recipes that need one")
    parser.add_argument("--seeds", type=int, help="seeds per recipe (default 3)")
    parser.add_argument("--fractions", type=float, nargs="+", metavar="SHARE")
    parser.add_argument("--workers", type=int, default=0, help="processes that share the runs")
    parser.add_argument("--scheduler", metavar="tls://HOST:PORT", help="runs on the workers of a Dask cluster")
    parser.add_argument(
        "--insecure", action="store_true", help="accept a tcp:// scheduler, whose peers run code as you"
    )
    parser.add_argument(
        "--device", help="auto, cpu or cuda:N for all stages (default: auto; local workers take turns on the GPUs)"
    )
    parser.add_argument("--retry", action="store_true", help="begin collapsed or failed runs again")
    parser.add_argument("--config", type=Path, help="settings as JSON or YAML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


def result_folder(args: argparse.Namespace) -> Path:
    """The evidence folder."""
    folder: Path = args.evidence
    return folder


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Compare and print the table with its verdicts."""
    from medprior.workers.dask_cluster import check_scheduler_security

    check_scheduler_security(args.scheduler, args.insecure)
    options = {"seeds": args.seeds, "fractions": args.fractions}
    overrides = [f"{key}={value}" for key, value in options.items() if value is not None]
    settings = CompareSettings.load(args.config, [*overrides, *args.set])
    if args.device:
        settings = settings.on_device(args.device)
    from medprior.evaluate.compare.compare import compare_recipes
    from medprior.evaluate.report.summary import format_headlines

    metrics = compare_recipes(
        args.cohort, args.evidence, args.recipes, args.prior, settings, observer,
        args.workers, args.scheduler, args.retry,
    )  # fmt: skip
    print(format_headlines(metrics, {"attention": args.recipes[0]}))
    print((args.evidence / "table.md").read_text(encoding="utf-8"))
    for name in ("features.md", "low_data.md"):
        if (args.evidence / name).is_file():
            print((args.evidence / name).read_text(encoding="utf-8"))
    print(f"numbers: {args.evidence / 'metrics.json'}, to read: {args.evidence / 'report.html'}")
