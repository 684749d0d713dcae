"""`medprior promote`: makes a challenger champion if it passes the gate; or `--rollback`."""

from __future__ import annotations

import argparse
from pathlib import Path

from medprior.errors import ConfigError
from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("name", metavar="NAME", help="name in the registry")
    parser.add_argument("--challenger", default="@challenger", metavar="VERSION|@ALIAS", help="(%(default)s)")
    parser.add_argument("--cohort", type=Path, help="cohort to judge on; its labels are the truth")
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument(
        "--margin", type=float, default=0.01, metavar="D",
        help="mAUC or Dice: how much worse still counts as not worse (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of a gate")
    parser.add_argument("--allow-preprocessing", action="store_true", help="accept images of another size")
    parser.add_argument("--allow-labels", action="store_true", help="accept other labels")
    parser.add_argument("--rollback", action="store_true", help="back to the previous champion")
    parser.add_argument(
        "--tracking-uri",
        help="MLflow store (default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db)",
    )
    parser.add_argument("--experiment", default="medprior", help="MLflow experiment (%(default)s)")


def result_folder(args: argparse.Namespace) -> Path:
    """The cohort that is read; promoting writes no folder."""
    return args.cohort or Path()


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Run the gate and promote, or roll back, and print the result."""
    from medprior.deploy.promotion.promote import promote_challenger, roll_back_champion
    from medprior.deploy.promotion.settings import GateSettings

    if args.rollback:
        previous, current = roll_back_champion(args.name, args.tracking_uri)
        print(f"{args.name}: version {current} is champion again, version {previous} is previous")
        return
    if args.cohort is None:
        raise ConfigError(
            "no cohort to judge on",
            where="--cohort",
            fix="name a cohort with labels",
        )
    options = {
        "margin": args.margin,
        "allow_preprocessing": args.allow_preprocessing,
        "allow_labels": args.allow_labels,
    }
    evidence = promote_challenger(
        args.name,
        args.cohort,
        args.challenger,
        args.split,
        GateSettings.load(None, args.set, **options),
        args.tracking_uri,
        args.experiment,
    )
    for check in evidence["checks"]:
        print(f"  {check['name']}: {check['text']}")
    print(f"promoted {args.name} version {evidence['challenger']}: models:/{args.name}@champion")
