"""`medprior demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/demo"), metavar="OUT")
    parser.add_argument(
        "--real", type=Path, metavar="DATA", help="folder with nih/, shenzhen/ and hannover/"
    )
    parser.add_argument(
        "--recipes", action="store_true", help="compare the recipes of pretraining (hours)"
    )
    parser.add_argument("--config", type=Path, help="JSON or YAML file with settings of the row")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


def result(args: argparse.Namespace) -> Path:
    """The folder all stages write below."""
    folder: Path = args.out
    return folder


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Walk the whole row."""
    if args.real is not None:
        from medprior.demo.real_row import RealRowSettings, run_real_row

        run_real_row(args.out, args.real, RealRowSettings.load(args.config, args.set))
        return
    if args.recipes:
        from medprior.demo.recipe_row import RecipeRowSettings, run_recipe_row

        run_recipe_row(args.out, RecipeRowSettings.load(args.config, args.set))
        return
    from medprior.demo.phantom_row import PhantomRowSettings, run_phantom_row

    run_phantom_row(args.out, PhantomRowSettings.load(args.config, args.set))
