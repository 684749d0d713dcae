"""Inputs of an evaluation: named backbones, models and priors, loaded and checked first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from medprior.cohort import Cohort
from medprior.errors import ConfigError, InputMissing, MedpriorError
from medprior.provenance import read_seen_cohorts, result_digest

if TYPE_CHECKING:
    from medprior.finetune.model import Model
    from medprior.networks import Backbone
    from medprior.priors import SpatialPrior

RESERVED_INPUT_NAMES = {"prior", "registered_prior", "random_weights", "uniform", "centre"}
ALL_SPLITS = "all"
T = TypeVar("T")
NamedPath = str | Path | tuple[str, str | Path]


@dataclass(frozen=True)
class NamedInput(Generic[T]):
    """A loaded result with the name it has in keys, tables and figures."""

    name: str
    path: Path
    item: T


@dataclass(frozen=True)
class Inputs:
    """Everything that is evaluated; the first of each kind (and task) is the primary one."""

    backbones: tuple[NamedInput[Backbone], ...]
    models: tuple[NamedInput[Model], ...]
    priors: tuple[NamedInput[SpatialPrior], ...]

    @property
    def folders(self) -> dict[str, Path]:
        """Result folders by `<kind>.<name>`, for the record of digests."""
        kinds: dict[str, tuple[NamedInput[Any], ...]] = {
            "backbone": self.backbones,
            "model": self.models,
            "prior": self.priors,
        }
        entries = ((kind, entry) for kind, group in kinds.items() for entry in group)
        return {f"{kind}.{entry.name}": entry.path for kind, entry in entries}

    def find_excluded_images(self) -> frozenset[str]:
        """Ids of the annotated images, on which no prior may be evaluated."""
        return frozenset().union(*(prior.item.excluded for prior in self.priors))


def convert_entries_to_list(entries: NamedPath | Iterable[NamedPath] | None) -> list[NamedPath]:
    """None, one entry, or an iterable of entries, as a list."""
    if entries is None:
        return []
    if isinstance(entries, (str, Path)):
        return [entries]
    if isinstance(entries, tuple) and len(entries) == 2 and isinstance(entries[0], str):
        return [entries]  # type: ignore[list-item]
    return list(entries)


def split_named_path(entry: NamedPath) -> tuple[str, Path]:
    """Name and folder of `NAME=PATH`, `PATH` (named by its last part) or `(NAME, PATH)`.

    A folder with a reserved name, such as `prior`, is named `prior_1`.
    """
    if isinstance(entry, tuple):
        return entry[0], Path(entry[1])
    name, separator, folder = str(entry).partition("=")
    if separator and name and "/" not in name:
        return name, Path(folder)
    path = Path(entry)
    folder_name = path.resolve().name
    return f"{folder_name}_1" if folder_name in RESERVED_INPUT_NAMES else folder_name, path


def parse_named_paths(entries: Sequence[NamedPath], option: str) -> list[tuple[str, Path]]:
    """Unique names that can be part of a key, with their folders.

    Raises:
        ConfigError: two results have one name, or a name is reserved.
    """
    pairs = [split_named_path(entry) for entry in entries]
    result = [(re.sub(r"[^\w-]+", "_", name), path) for name, path in pairs]
    names = [name for name, _ in result]
    for name in names:
        if names.count(name) > 1 or name in RESERVED_INPUT_NAMES:
            reason = "is used twice" if names.count(name) > 1 else "is taken"
            raise ConfigError(f"the name {name!r} {reason}", where=option, fix=f"write {option} NAME=PATH")
    return result


def load_inputs(
    entries: NamedPath | Iterable[NamedPath] | None, kind: str, device: str = "cpu"
) -> tuple[NamedInput[Any], ...]:
    """Load every entry of one kind, "backbone", "model" or "prior"; models onto `device`, as of `select_device`.

    Raises:
        InputMissing: a folder is missing, unfinished, or of another stage.
    """
    result = []
    for name, path in parse_named_paths(convert_entries_to_list(entries), f"--{kind}"):
        try:
            result.append(NamedInput(name, path, load_result_folder(path, kind, device)))
        except FileNotFoundError:
            raise InputMissing(f"no such {kind}", where=str(path), fix=f"check the --{kind} path") from None
    return tuple(result)


def load_result_folder(path: Path, kind: str, device: str = "cpu") -> Any:
    """The backbone, model or prior in one result folder; a model's network is put on `device`."""
    if kind == "backbone":
        from medprior.networks import load_backbone

        return load_backbone(path)
    if kind == "model":
        from medprior.finetune.model import load_finetuned_model
        from medprior.networks.device import select_device

        return load_finetuned_model(path, str(select_device(device)))
    from medprior.priors import SpatialPrior

    return SpatialPrior.load(path)


def select_split_images(cohort: Cohort, split: str) -> Cohort:
    """The images of one split, or of the whole cohort for `all`."""
    return cohort if split == ALL_SPLITS else cohort.split(split)


def check_not_trained_on(cohort: Cohort, inputs: Inputs) -> None:
    """ConfigError if a backbone or model, or its initial weights, were trained on `cohort`."""
    digest = result_digest(cohort.path)
    results: tuple[NamedInput[Any], ...] = (*inputs.backbones, *inputs.models)
    for entry in results:
        if digest in read_seen_cohorts(entry.item.config):
            raise ConfigError(
                f"{entry.name} was trained on images of this cohort",
                where=f"--split {ALL_SPLITS}",
                expected="a cohort that nothing was trained on",
                fix="use --split test",
            )


def select_evaluation_split(cohort: Cohort, split: str, excluded: frozenset[str]) -> Cohort:
    """The images of `split` that may be evaluated.

    Raises:
        InputMissing: no image is left, or one of its patients is in the train split too.
    """
    part = select_split_images(cohort, split)
    ids = [image_id for image_id in part.image_ids if image_id not in excluded]
    if not ids:
        raise InputMissing(
            f"split {split!r} holds only the annotated image",
            where=cohort.path.name,
            fix="ingest more patients",
        )
    table = cohort.manifest
    train = set(table.patient_id[(table.split == "train").to_numpy()])
    disjoint = split not in ("train", ALL_SPLITS)
    shared = train & set(part.patient_ids.tolist()) if disjoint else set()
    if shared:
        raise InputMissing(
            f"{len(shared)} patient(s) are in both train and {split}",
            where=cohort.path.name,
            expected="patient-disjoint splits",
            fix="run `medprior ingest` again",
        )
    return part if len(ids) == len(part) else part.select(ids)


def select_tuning_split(cohort: Cohort, split: str, excluded: frozenset[str]) -> Cohort | None:
    """Images to choose heads and thresholds on: validation, else training, else None."""
    for name in ("val", "train"):
        if split in (name, ALL_SPLITS):
            continue
        try:
            return select_evaluation_split(cohort, name, excluded)
        except MedpriorError:
            continue
    return None
