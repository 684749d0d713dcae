"""Atomic writes, file digests, and the `config.json` that every stage writes with its result."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import medprior
from medprior.errors import InputMissing
from medprior.locks import PRIVATE_FOLDER_MODE

RECORDED_PACKAGES = ("torch", "monai", "timm", "pydicom", "SimpleITK", "numpy", "pandas", "mlflow")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path that replaces `path` when the block ends without error.

    The folder is made if absent, for its owner only (0700). File and folder are flushed to disk: after a crash
    the old or the new file is complete.
    """
    path.parent.mkdir(mode=PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        fsync_path(temporary)
        temporary.replace(path)
        fsync_path(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def fsync_path(path: Path) -> None:
    """Force a file, or the names in a folder, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Write `value` as sorted, indented JSON, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def result_digest(folder: Path) -> str:
    """Hex sha256 of a stage's result: of the `outputs` in its `config.json`.

    Without `outputs` it is that of the whole `config.json`.
    """
    record = read_config(folder)
    text = json.dumps(record.get("outputs") or record, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def compute_input_digest(path: Path) -> str:
    """Hex sha256 of what a stage read: of the bytes of a file, of the result in a folder."""
    return sha256_file(path) if path.is_file() else result_digest(path)


def find_git_commit() -> str | None:
    """Git commit of the package's checkout, or None for an installed package."""
    root = Path(medprior.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        process = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()


def collect_versions() -> dict[str, str]:
    """Versions of Python, medprior and the packages that affect a result."""
    versions = {"python": platform.python_version(), "medprior": medprior.__version__}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def write_config(
    folder: Path,
    stage: str,
    settings: Mapping[str, Any],
    *,
    inputs: Mapping[str, Path] | None = None,
    outputs: tuple[str, ...] = (),
    seed: int | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write `config.json`, the last file of a stage: its presence marks the stage as finished.

    Args:
        folder: the stage's result folder.
        stage: the stage's name (`ingest`, `pretrain` ...).
        settings: resolved settings, JSON-serialisable, free of patient data and source paths.
        inputs: name -> result folder of another stage, or a file; its digest is written, not its path.
        outputs: names of files in `folder` whose sha256 is recorded.
        seed: the run's seed.
        facts: further entries for later stages (head map, label names, preprocessing ...).
    """
    record = {
        "stage": stage,
        "settings": dict(settings),
        "seed": seed,
        "versions": collect_versions(),
        "git_commit": find_git_commit(),
        "inputs": {name: compute_input_digest(path) for name, path in (inputs or {}).items()},
        "outputs": {name: sha256_file(folder / name) for name in outputs},
        **(facts or {}),
    }
    write_json(folder / "config.json", record)


def merge_seen_cohorts(cohort: Path, backbone: Path | None) -> list[str]:
    """Digests of the cohorts that weights were trained on: `cohort` and those of the backbone.

    Args:
        cohort: folder of the cohort that a stage trains on.
        backbone: result folder of its initial weights; without `config.json` it adds no cohort.
    """
    digests = {result_digest(cohort)}
    if backbone is not None and (backbone / "config.json").is_file():
        digests |= set(read_seen_cohorts(read_config(backbone)))
    return sorted(digests)


def read_seen_cohorts(config: Mapping[str, Any]) -> list[str]:
    """Digests of the cohorts that a result's weights were trained on, from its `config.json`."""
    cohort = (config.get("inputs") or {}).get("cohort")
    return config.get("seen_cohorts") or ([cohort] if cohort else [])


def read_config(folder: Path, stage: str | None = None) -> dict[str, Any]:
    """The `config.json` of a stage's result folder.

    Raises:
        InputMissing: the folder is missing, unfinished, damaged or the result of another stage.
    """
    path = Path(folder) / "config.json"
    if not path.is_file():
        state = "an unfinished or foreign folder" if Path(folder).is_dir() else "nothing"
        next_step = f"run `medprior {stage}` first" if stage else "run its stage first"
        raise InputMissing("no finished result", where=str(folder), expected="config.json", found=state, fix=next_step)
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        record = {}
    if not isinstance(record, dict) or not record:
        raise InputMissing("config.json is damaged", where=str(folder), fix="rerun the stage")
    if stage is not None and record.get("stage") != stage:
        raise InputMissing(
            "the result of another stage", where=str(folder), expected=stage, found=str(record.get("stage"))
        )
    return record
