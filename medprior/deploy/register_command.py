"""`medprior register`: registers a model folder as a version and points an alias to it."""

from __future__ import annotations

import argparse
from pathlib import Path

from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="folder of medprior finetune")
    parser.add_argument("name", metavar="NAME", help="name in the registry")
    parser.add_argument("--alias", default="challenger", help="alias to point at it (%(default)s)")
    parser.add_argument("--segmenter", type=Path, metavar="MODEL", help="adds masks and the cardiothoracic ratio")
    parser.add_argument("--evidence", type=Path, help="folder of medprior evaluate; its metrics become tags")
    parser.add_argument(
        "--cohort",
        type=Path,
        action="append",
        default=[],
        help="cohort of the training; lets promote check its patients",
    )
    parser.add_argument(
        "--sign-key", type=Path, metavar="FILE",
        help="private key (Ed25519, PEM) that signs the models; --verify-key of predict, serve and node checks them",
    )  # fmt: skip
    parser.add_argument(
        "--tracking-uri",
        help="MLflow store (default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db)",
    )
    parser.add_argument("--experiment", default="medprior", help="MLflow experiment (%(default)s)")


def result_folder(args: argparse.Namespace) -> Path:
    """The model's own folder; registering writes no other."""
    folder: Path = args.model
    return folder


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Register the model and print its URI."""
    from medprior.deploy.registry.register import register_model

    version = register_model(
        args.model,
        args.name,
        args.alias,
        segmenter=args.segmenter,
        evidence=args.evidence,
        tracking_uri=args.tracking_uri,
        experiment=args.experiment,
        cohorts=args.cohort,
        sign_key=args.sign_key,
    )
    print(f"registered {args.name} version {version}: models:/{args.name}@{args.alias}")
