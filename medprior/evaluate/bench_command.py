"""`medprior bench`: time one room against what people would use instead."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from pathlib import Path

from medprior.observer import Observer

ROOMS = {
    "prior": "medprior.priors.bench",
    "pretrain": "medprior.pretrain.bench",
    "evaluate": "medprior.evaluate.bench",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    there = [room for room, module in ROOMS.items() if importlib.util.find_spec(module)]
    parser.add_argument("room", choices=there, help="what to time")


def result(args: argparse.Namespace) -> Path:
    """A bench leaves no folder; it prints."""
    return Path.cwd()


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Run the room's own bench."""
    importlib.import_module(ROOMS[args.room]).main()
