"""Checks the keys of a bundle run for typing errors, and shortens error output to one line."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.bundle.utils import EXPR_KEY, MERGE_KEY
from monai.bundle.workflows import ConfigWorkflow

from medprior.errors import ConfigError, MedpriorError
from medprior.tracking.mlflow_store import prepare_mlflow_environment

BUNDLE_METADATA_FILE = "metadata.json"
# Keys that MONAI adds itself: the metadata, and those of `--tracking`.
MONAI_KEYS = frozenset(
    {
        "_meta_", "output_dir", "tracking_uri", "experiment_name", "run_name",
        "save_execute_config", "is_not_rank0",
    }
)  # fmt: skip


def initialise_bundle_run() -> None:
    """Check the keys of a run and shorten its error output; the first entry of `initialize`.

    An uncaught `MedpriorError` becomes one line on stderr with its exit status.

    Raises:
        ConfigError: a `--key` that no config of the bundle has, which MONAI takes for a new key, or
            an `output_dir` that is no expression, which keeps MONAI from logging the executed config.
    """
    sys.excepthook = print_one_line_error
    prepare_mlflow_environment()
    workflow = find_running_workflow()
    keys = {str(key) for key in workflow.parser.get()}
    check_unknown_keys(keys, list_known_keys(Path(workflow.config_root_path)))
    if not str(workflow.parser.get("output_dir")).startswith(EXPR_KEY):
        what = "output_dir cannot be set; it is derived from out"
        raise ConfigError(what, where="bundle", fix="give --out FOLDER")


def find_running_workflow() -> ConfigWorkflow:
    """The workflow whose `initialize` is being evaluated.

    MONAI does not pass the workflow to an expression, so it is looked up in the calling frames.
    """
    frame = sys._getframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConfigWorkflow):
            return owner
        frame = frame.f_back  # type: ignore[assignment]
    raise RuntimeError("call this from `initialize` of a bundle's config")


def list_known_keys(configs: Path) -> set[str]:
    """Top-level keys of all configs in a bundle's folder, and those that MONAI itself adds."""
    keys = set(MONAI_KEYS)
    for path in configs.glob("*.json"):
        if path.name != BUNDLE_METADATA_FILE:
            keys |= {key.removeprefix(MERGE_KEY) for key in json.loads(path.read_text("utf-8"))}
    return keys


def check_unknown_keys(keys: set[str], known: set[str]) -> None:
    """ConfigError that names every key that is not `known`, with the nearest match."""
    unknown = sorted(keys - known)
    if not unknown:
        return
    matches = [name for key in unknown for name in difflib.get_close_matches(key, known, n=1)]
    raise ConfigError(
        "unknown key " + ", ".join(f"--{key}" for key in unknown),
        where="bundle",
        fix=f"did you mean --{matches[0]}?" if matches else "the keys are in the bundle's configs",
    )


def print_one_line_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> Any:
    """An `excepthook` that prints a `MedpriorError`, also one that MONAI has wrapped, in one line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MedpriorError):
            print(f"medprior: {cause}", file=sys.stderr)
            raise SystemExit(cause.exit_code)
        cause = cause.__cause__ or cause.__context__
    sys.__excepthook__(kind, error, trace)
