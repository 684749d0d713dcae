"""Command line of `medprior prior COHORT PRIOR [--annotation PATH] [--method M]`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from medprior.observer import Observer
from medprior.priors.settings import Method, PriorSettings


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("cohort", type=Path, metavar="COHORT")
    parser.add_argument("prior", type=Path, metavar="PRIOR", help="prior folder to write")
    parser.add_argument(
        "--annotation", type=Path, action="append", default=[],
        help="annotation folder (medprior annotate); repeat for several of the same structures",
    )  # fmt: skip
    parser.add_argument(
        "--method",
        choices=get_args(Method),
        help="default: registered with an annotation, else statistics",
    )
    parser.add_argument("--only", metavar="ID,...", help="only these images of the cohort")
    parser.add_argument("--backbone", type=Path, help="backbone folder, for --method refined")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--scheduler", metavar="tls://HOST:PORT", help="register on the workers of a Dask cluster")
    parser.add_argument(
        "--insecure", action="store_true", help="accept a tcp:// scheduler, whose peers run code as you"
    )
    parser.add_argument("--config", type=Path, help="settings as JSON or YAML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; repeatable")


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Build the prior and print its quality where masks are known."""
    from medprior.priors.build import build_prior
    from medprior.workers.dask_cluster import check_scheduler_security

    check_scheduler_security(args.scheduler, args.insecure)
    default = "registered" if args.annotation else "statistics"
    overrides = [f"method={args.method}"] if args.method else []
    settings = PriorSettings.load(args.config, [*args.set, *overrides], method=default)
    only = args.only.split(",") if args.only else None
    prior = build_prior(
        args.cohort, args.prior, args.annotation, None, settings, observer, args.workers, only,
        args.backbone, args.scheduler,
    )  # fmt: skip
    for status, count in prior.facts.get("registered", {}).items():
        print(f"{count} image(s): {status}")
    scores = prior.facts.get("quality", {}).get("structures", {})
    if scores:
        print("on training and validation images with masks:")
    for name, values in scores.items():
        print(
            f"  {name:<12} Dice {values['dice']:.3f} (5 %: {values['dice_p5']:.3f})  "
            f"pixel-AP {values['pixel_ap']:.3f}  n={values['n']}"
        )
    if prior.facts.get("doubtful"):
        print(f"{prior.facts['doubtful']} image(s) are doubtful: column `doubt` of per_image.parquet")
    for offer in prior.facts.get("next", [])[:1]:
        print(
            f"worth annotating next: {offer['image_id']} "
            f"(typical, yet unlike the annotated images; the nearest example for {offer['nearer']} of "
            f"{offer['of']} training images, {offer['doubtful']} of them doubtful now)"
        )
    print(f"prior: {args.prior} ({prior.method}: {', '.join(prior.names)})")


def result_folder(args: argparse.Namespace) -> Path:
    """The prior folder."""
    folder: Path = args.prior
    return folder
