"""The `medprior` command: one subcommand per stage, heavy imports only for the stage that runs."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import medprior
from medprior.errors import ConfigError, MedpriorError, suggest_nearest
from medprior.workers.launched import read_launched_processes

STAGES: dict[str, tuple[str, str]] = {
    "phantom": ("medprior.phantom.command", "generate a cohort of phantom radiographs as DICOM"),
    "ingest": ("medprior.ingest.command", "DICOM, PNG, JPEG, TIFF or BMP folder -> cohort"),
    "annotate": ("medprior.annotate.command", "draw one radiograph, or take masks -> annotation"),
    "prior": ("medprior.priors.command", "cohort (+ one annotation) -> spatial prior"),
    "pretrain": ("medprior.pretrain.command", "cohort + prior -> backbone"),
    "finetune": ("medprior.finetune.command", "backbone + labels or masks -> model"),
    "evaluate": ("medprior.evaluate.command", "backbones and models -> evidence and report"),
    "compare": ("medprior.evaluate.compare_command", "recipes side by side, with intervals"),
    "register": ("medprior.deploy.register_command", "model -> MLflow model registry"),
    "export": ("medprior.deploy.export_command", "model -> ONNX, checked against PyTorch"),
    "promote": ("medprior.deploy.promote_command", "challenger -> champion, if it passes the gate"),
    "predict": ("medprior.deploy.predict_command", "DICOM file or folder -> findings and maps"),
    "serve": ("medprior.deploy.serve_command", "HTTP service and page over a registered model"),
    "node": ("medprior.deploy.node_command", "DICOM node: C-STORE in, SEG and SR to the archive"),
    "bench": ("medprior.bench.command", "time one room against its peers"),
    "doctor": ("medprior.doctor", "what this installation can do"),
    "demo": ("medprior.demo.command", "all stages on a generated cohort"),
}
UNTRACKED_STAGES = {
    "predict", "bench", "doctor", "demo", "register", "promote", "serve", "export", "node",
}  # fmt: skip
SETTINGS_BY_STAGE = {
    "phantom": "medprior.phantom.settings:PhantomSettings",
    "ingest": "medprior.ingest.settings:IngestSettings",
    "prior": "medprior.priors.settings:PriorSettings",
    "pretrain": "medprior.pretrain.settings:PretrainSettings",
    "finetune": "medprior.finetune.settings:FinetuneSettings",
    "evaluate": "medprior.evaluate.settings:EvaluateSettings",
    "compare": "medprior.evaluate.compare.settings:CompareSettings",
    "promote": "medprior.deploy.promotion.settings:GateSettings",
    "demo": "medprior.demo.phantom_demo:PhantomDemoSettings",
}
"""Stage -> module and class of what its `--set` takes; the other stages have options only."""
DISTRIBUTED_STAGES = {"pretrain"}
"""Stages whose processes, started by torchrun, share one run."""


MAX_ALIGNED_DEFAULT = 30  # longer defaults push their description to the right

# Their results hold pictures or pseudonyms of patients: files are made for their owner only, 0600 and 0700.
PRIVATE_STAGES = {"ingest", "annotate", "prior", "pretrain", "finetune", "evaluate", "compare", "predict", "node"}


HELP_HEAD = """\
medprior finds lungs and heart on chest radiographs, and trains the models that do, from one annotated radiograph.

usage: medprior STAGE ... [--help]

first radiograph:     medprior predict chest.dcm -o out
options of a stage:   medprior STAGE --help
settings of a stage:  medprior settings STAGE [--json], each given as --set KEY=VALUE

stages, in the order of the work:"""


def format_help_text() -> str:
    """The text of `medprior --help`."""
    lines = [HELP_HEAD, *(f"  {name:<10} {text}" for name, (_, text) in STAGES.items())]
    lines += ["", "exit status: 0 done, 2 your input was refused (one line says why), else a bug"]
    return "\n".join(lines)


def print_stage_settings(arguments: Sequence[str]) -> None:
    """Print the settings of a stage with their defaults, as lines or as a JSON schema.

    Raises:
        ConfigError: no such stage, or it has options only.
    """
    parser = argparse.ArgumentParser(prog="medprior settings", description="all settings of a stage")
    parser.add_argument("stage", metavar="STAGE", help=f"of {', '.join(SETTINGS_BY_STAGE)}")
    parser.add_argument("--json", action="store_true", help="a JSON schema instead of lines")
    args = parser.parse_args(arguments)
    if args.stage not in SETTINGS_BY_STAGE:
        is_stage = args.stage in STAGES
        raise ConfigError(
            "this stage has options only" if is_stage else "no such stage", where="STAGE",
            expected=f"one of {', '.join(SETTINGS_BY_STAGE)}", found=repr(args.stage),
            fix=f"see `medprior {args.stage} --help`" if is_stage else suggest_nearest(args.stage, SETTINGS_BY_STAGE),
        )  # fmt: skip
    from medprior.settings import Settings, build_settings_schema, list_settings

    module, name = SETTINGS_BY_STAGE[args.stage].split(":")
    settings: type[Settings] = getattr(importlib.import_module(module), name)
    defaults = settings.from_values({})  # of a class that has the sections of added objectives
    if args.json:
        print(json.dumps(build_settings_schema(type(defaults)), indent=2))
        return
    entries = list(list_settings(defaults))
    width = max(len(f"{entry.key}={entry.default}") for entry in entries if len(entry.default) <= MAX_ALIGNED_DEFAULT)
    for entry in entries:
        print(f"{f'{entry.key}={entry.default}':<{width}}  {entry.description}".rstrip())


def run_stage(name: str, arguments: Sequence[str]) -> None:
    """Parse `arguments` of stage `name` and run it, tracked in MLflow unless it is in `UNTRACKED_STAGES`.

    Of several processes that torchrun started for one run, the first alone is tracked.

    Raises:
        ConfigError: torchrun started several processes of a stage that is one process.
    """
    rank, processes = read_launched_processes()
    if processes > 1 and name not in DISTRIBUTED_STAGES:
        raise ConfigError(
            "this stage is one process, and several would write one folder", where="WORLD_SIZE", expected="1",
            found=str(processes), fix=f"call `medprior {name}` without torchrun",
        )  # fmt: skip
    module = importlib.import_module(STAGES[name][0])
    epilog = f"settings for --set: medprior settings {name}" if name in SETTINGS_BY_STAGE else None
    parser = argparse.ArgumentParser(prog=f"medprior {name}", description=STAGES[name][1], epilog=epilog)
    module.configure(parser)
    if name not in UNTRACKED_STAGES:
        group = parser.add_argument_group("tracking")
        group.add_argument(
            "--tracking-uri", help="MLflow store (default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db)"
        )
        group.add_argument("--experiment", default="medprior", help="MLflow experiment")
        group.add_argument("--run-name", help="part of the run's name (default: stage and time only)")
        group.add_argument(
            "--log-pictures", action="store_true", help="log figures and reports that show radiographs, too"
        )
        group.add_argument("--no-tracking", action="store_true", help="do not log to MLflow")
    args = parser.parse_args(arguments)
    # The stage gets its own arguments.
    pictures, run_name = (vars(args).pop(key, None) for key in ("log_pictures", "run_name"))
    if name in UNTRACKED_STAGES or args.no_tracking or rank > 0:
        from medprior.observer import NullObserver

        with limit_permissions(name):
            module.run(args, NullObserver())
        return
    from medprior.tracking.mlflow_run import track_stage

    result = module.result_folder(args)
    tracked = track_stage(name, args.experiment, args.tracking_uri, result, bool(pictures), run_name)
    with tracked as observer, limit_permissions(name):
        module.run(args, observer)


@contextmanager
def limit_permissions(stage: str) -> Iterator[None]:
    """Keep group and others out of what a stage of `PRIVATE_STAGES` writes in the block."""
    if stage not in PRIVATE_STAGES:
        yield
        return
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status, 0 where the reader of the output went away."""
    try:
        try:
            return dispatch_arguments(argv)
        finally:
            # Here, where a closed pipe can be caught: Python's own flush at exit would print a traceback.
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def dispatch_arguments(argv: Sequence[str] | None) -> int:
    """Print help or version, or run a stage; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(format_help_text())
        return 0
    if arguments[0] in {"-V", "--version"}:
        print(medprior.__version__)
        return 0
    if arguments[0] not in {"settings", *STAGES}:
        suggestion = suggest_nearest(arguments[0], ["settings", *STAGES])
        known = f"{suggestion} known: {', '.join(STAGES)}".lstrip()
        print(f"medprior: no stage {arguments[0]!r}; {known}", file=sys.stderr)
        return 2
    try:
        if arguments[0] == "settings":
            print_stage_settings(arguments[1:])
        else:
            run_stage(arguments[0], arguments[1:])
    except MedpriorError as error:
        print(f"medprior {arguments[0]}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
