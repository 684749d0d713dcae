"""Command line of `medprior bench`, which times one room against its alternatives."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from pathlib import Path

from medprior.errors import ConfigError
from medprior.observer import Observer

BENCH_MODULES = {
    "ingest": "medprior.bench.ingest",
    "sandbox": "medprior.bench.sandbox",
    "cohort": "medprior.bench.cohort",
    "prior": "medprior.bench.prior",
    "networks": "medprior.bench.networks",
    "pretrain": "medprior.bench.pretrain",
    "evaluate": "medprior.bench.evaluate",
    "deploy": "medprior.bench.deploy",
    "node": "medprior.bench.node",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    rooms = [room for room, module in BENCH_MODULES.items() if importlib.util.find_spec(module)]
    parser.add_argument("room", choices=rooms, help="room to time")
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="...",
        help="rooms ingest, prior, pretrain and node: options (see `medprior bench prior --help`)",
    )  # fmt: skip


def result_folder(args: argparse.Namespace) -> Path:
    """The working folder: a bench prints and writes no result folder."""
    return Path.cwd()


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Run the bench of the room."""
    module = importlib.import_module(BENCH_MODULES[args.room])
    if not args.options:
        module.main()
    elif args.room == "prior":
        module.main(**module.parse_arguments(args.options))
    elif args.room == "ingest":
        module.main(**module.parse_ingest_options(args.options))
    elif args.room == "pretrain":
        module.main(**module.parse_pretrain_options(args.options))
    elif args.room == "node":
        module.main(**module.parse_node_options(args.options))
    else:
        raise ConfigError("takes no arguments", where=f"bench {args.room}", found=" ".join(args.options))
