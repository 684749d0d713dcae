"""`medprior demo`: run all stages on phantoms or on public radiographs."""

from __future__ import annotations

import argparse
from pathlib import Path

from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/demo"), metavar="OUT")
    parser.add_argument("--real", type=Path, metavar="DATA", help="folder with nih/, shenzhen/ and hannover/")
    parser.add_argument("--anatomy", type=Path, metavar="DATA", help="train the anatomy model that ships (hours)")
    parser.add_argument("--evidence", type=Path, metavar="DATA", help="findings from few labels, with kermany/ (hours)")
    parser.add_argument("--recipes", action="store_true", help="compare the recipes of pretraining (hours)")
    parser.add_argument("--config", type=Path, help="JSON or YAML file with settings of the demo")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


def result_folder(args: argparse.Namespace) -> Path:
    """The folder that holds the folders of all stages."""
    folder: Path = args.out
    return folder


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Run the chosen demonstration."""
    if args.real is not None:
        from medprior.demo.real_demo import RealDemoSettings, run_real_demo

        run_real_demo(args.out, args.real, RealDemoSettings.load(args.config, args.set))
        return
    if args.anatomy is not None:
        from medprior.demo.anatomy_demo import AnatomyDemoSettings, run_anatomy_demo

        run_anatomy_demo(args.out, args.anatomy, AnatomyDemoSettings.load(args.config, args.set))
        return
    if args.evidence is not None:
        from medprior.demo.evidence_demo import EvidenceDemoSettings, run_evidence_demo

        run_evidence_demo(args.out, args.evidence, EvidenceDemoSettings.load(args.config, args.set))
        return
    if args.recipes:
        from medprior.demo.recipe_demo import RecipeDemoSettings, run_recipe_demo

        run_recipe_demo(args.out, RecipeDemoSettings.load(args.config, args.set))
        return
    from medprior.demo.phantom_demo import PhantomDemoSettings, run_phantom_demo

    run_phantom_demo(args.out, PhantomDemoSettings.load(args.config, args.set))
