"""`medprior pretrain COHORT BACKBONE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from medprior.pretrain.presets import PRESETS
    from medprior.pretrain.recipes import RECIPES

    parser.add_argument("cohort", type=Path, metavar="COHORT")
    parser.add_argument("backbone", type=Path, metavar="BACKBONE", help="result folder")
    parser.add_argument("--prior", type=Path, help="spatial prior (recipe span needs one)")
    parser.add_argument(
        "--recipe", metavar="NAME[+NAME...]",
        help=f"default: the preset's, else span; of {', '.join(RECIPES)}",
    )  # fmt: skip
    parser.add_argument("--preset", help=f"published settings: {', '.join(PRESETS)}")
    parser.add_argument("--init", help="start from these weights: a backbone's folder, or a file")
    parser.add_argument(
        "--plugin", type=Path, action="append", default=[], metavar="FILE",
        help="Python file that defines a further objective (--set NAME.weight=... turns it on)",
    )  # fmt: skip
    parser.add_argument("--config", type=Path, help="JSON or YAML file with settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")


def result_folder(args: argparse.Namespace) -> Path:
    """The result folder."""
    folder: Path = args.backbone
    return folder


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Pretrain, and say where the backbone is; processes that torchrun started share the run."""
    from medprior.pretrain.distributed import join_launched_processes, process_rank
    from medprior.pretrain.objectives.registry import load_plugin
    from medprior.pretrain.pipeline import pretrain_backbone
    from medprior.pretrain.settings import PretrainSettings

    for path in args.plugin:
        load_plugin(path)
    overrides = [f"recipe={args.recipe}"] if args.recipe else []
    overrides += [f"preset={args.preset}"] if args.preset else []
    overrides += [f"init={args.init}"] if args.init else []
    overrides += args.set
    settings = PretrainSettings.load(args.config, overrides)
    with join_launched_processes():
        pretrain_backbone(args.cohort, args.backbone, args.prior, settings, observer)
        if process_rank() == 0:
            print(f"backbone: {args.backbone}")
