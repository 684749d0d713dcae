"""The command `medprior finetune`."""

from __future__ import annotations

import argparse
from pathlib import Path

from medprior.observer import Observer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("cohort", type=Path, metavar="COHORT", help="folder of medprior ingest")
    parser.add_argument("model", type=Path, metavar="MODEL", help="result folder")
    parser.add_argument("--task", required=True, choices=("classification", "segmentation"))
    parser.add_argument(
        "--backbone", type=Path, help="folder of medprior pretrain, or a safetensors file; without it from scratch"
    )
    parser.add_argument("--prior", type=Path, help="folder of medprior prior, for span_weight and targets=prior")
    parser.add_argument(
        "--teacher", type=Path, nargs="+", default=[], metavar="MODEL", help="segmenters, for targets=teacher"
    )
    parser.add_argument("--labels", nargs="+", metavar="NAME", help="labels to learn (default all)")
    parser.add_argument("--structures", nargs="+", metavar="NAME", help="masks to learn (default lungs and heart)")
    parser.add_argument("--config", type=Path, help="JSON or YAML file with settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; repeatable")


def result_folder(args: argparse.Namespace) -> Path:
    """The result folder."""
    return Path(args.model)


def run(args: argparse.Namespace, observer: Observer) -> None:
    """Fine-tune and print the validation scores."""
    from medprior.cohort import Cohort
    from medprior.finetune.settings import FinetuneSettings
    from medprior.finetune.starting_weights import format_loaded_weights
    from medprior.finetune.training import finetune_model
    from medprior.provenance import read_config

    names = {"labels": args.labels, "structures": args.structures}
    settings = FinetuneSettings.load(args.config, args.set, task=args.task).for_task(args.task)
    settings = settings.model_copy(update={k: tuple(v) for k, v in names.items() if v})
    cohort = Cohort.open(args.cohort)
    finetune_model(cohort, args.model, args.task, args.backbone, settings, observer, args.prior, args.teacher)
    config = read_config(args.model)
    if "initial_weights" in config:
        print(format_loaded_weights(config["initial_weights"]))
    scores = {k: v for k, v in config["validation"].items() if k in ("mean_auc", "mean_dice")}
    text = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    split = "training images" if settings.has_few_masks else "validation"
    print(f"{args.model}: {split} {text} (epoch {config['training']['best_epoch']})")
