"""`medprior bench`: time one room against what people would use instead."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from pathlib import Path

from medprior.errors import ConfigError
from medprior.observer import Observer

BENCH_MODULES = {
    "ingest": "medprior.bench.ingest",
    "cohort": "medprior.bench.cohort",
    "prior": "medprior.bench.prior",
    "networks": "medprior.bench.networks",
    "pretrain": "medprior.bench.pretrain",
    "evaluate": "medprior.bench.evaluate",
    "deploy": "medprior.bench.deploy",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    there = [room for room, module in BENCH_MODULES.items() if importlib.util.find_spec(module)]
    parser.add_argument("room", choices=there, help="what to time")
    parser.add_argument(
        "given", nargs=argparse.REMAINDER, metavar="...",
        help="room prior: a cohort, and options (see `medprior bench prior --help`)",
    )  # fmt: skip


def result_folder(args: argparse.Namespace) -> Path:
    """A bench leaves no folder; it prints."""
    return Path.cwd()


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Run the room's own bench."""
    module = importlib.import_module(BENCH_MODULES[args.room])
    if not args.given:
        module.main()
    elif args.room == "prior":
        module.main(**module.parse_arguments(args.given))
    else:
        raise ConfigError("takes no arguments", where=f"bench {args.room}", found=" ".join(args.given))
