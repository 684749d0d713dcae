"""`medprior phantom OUT --patients N --seed S`."""

from __future__ import annotations

import argparse
from pathlib import Path

from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("out", type=Path, help="folder to write; new, empty or of the same request")
    parser.add_argument("--patients", type=int, required=True, help="how many patients")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice (default 0)")
    parser.add_argument("--size", type=int, help="rows of an image (default 512)")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--config", type=Path, help="settings as JSON or YAML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; repeatable")


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Generate the cohort."""
    from medprior.phantom.generate import generate_phantom_cohort
    from medprior.phantom.settings import PhantomSettings

    overrides = list(args.set)
    if args.size is not None:
        overrides.append(f"size={args.size}")
    settings = PhantomSettings.load(args.config, overrides)
    observer.params({"patients": args.patients, "seed": args.seed, **settings.model_dump(mode="json")})
    generate_phantom_cohort(args.out, args.patients, args.seed, settings, args.workers)
    observer.artifact(args.out / "labels.csv")


def result_folder(args: argparse.Namespace) -> Path:
    """The folder the command writes."""
    out: Path = args.out
    return out
