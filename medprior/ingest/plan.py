"""One walk over the input: which files are images, which masks belong to them, in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medprior.errors import InputMissing, MedpriorError
from medprior.ingest.descriptor import DatasetDescriptor, MaskRule, RawFormat, search_pattern

PathResolver = Callable[[str], str]


@dataclass(frozen=True)
class MaskFile:
    """A mask file and how to read it.

    Attributes:
        path: the file.
        structure: its structure, where it holds one.
        rule: how to read it.
    """

    path: str
    structure: str
    rule: MaskRule


@dataclass(frozen=True)
class ImageSource:
    """One image file to ingest.

    Attributes:
        path: absolute path, or URL.
        relative: path below the input, with slashes.
        key: the data set's id of the image.
        raw: set for headerless files.
        stretch: bring the file's value range to black and white.
        masks: its mask files.
    """

    path: str
    relative: str
    key: str
    raw: RawFormat | None
    masks: tuple[MaskFile, ...]
    stretch: bool = False


def list_files(root: Path, without: tuple[Path, ...]) -> Iterator[str]:
    """Paths below `root` of everything but folders; links are named, not followed."""
    skipped = {str(path.absolute()) for path in without}
    for parent, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if str(Path(parent, name).absolute()) not in skipped)
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield os.path.relpath(Path(parent, name), root).replace(os.sep, "/")


def list_sources(root: Path, described: DatasetDescriptor, without: tuple[Path, ...] = ()) -> list[ImageSource]:
    """All images of a data set below `root`, sorted by path.

    Raises:
        InputMissing: `root` is no folder, or holds no image of this data set.
    """
    root = root.absolute()
    if root.is_dir():
        paths = sorted(list_files(root, without))
    elif root.exists():
        paths, root = [root.name], root.parent
    else:
        raise InputMissing("no such file or folder", where="INPUT", fix="check the path")
    if not paths:
        raise MedpriorError("the input folder is empty", where="INPUT", fix="check the path")
    return match_sources(paths, lambda relative: str(root / relative), described)


def match_sources(paths: list[str], located: PathResolver, described: DatasetDescriptor) -> list[ImageSource]:
    """Those of `paths` that are images of a data set, with their masks, sorted by path.

    Args:
        paths: of all files, below the input, sorted.
        located: path below the input -> where the file is.
        described: the data set.

    Raises:
        InputMissing: none is an image of this data set.
    """
    masks = match_mask_files(located, paths, described)
    found: dict[str, tuple[int, ImageSource]] = {}
    for relative in paths:
        if described.exclude and search_pattern(described.exclude, relative):
            continue
        for rank, kind in enumerate(described.images):
            match = search_pattern(kind.match, relative)
            if match is None:
                continue
            key = match["id"]
            source = ImageSource(
                located(relative),
                relative,
                key,
                kind.raw,
                tuple(masks.get(key, ())),
                kind.stretch,
            )
            if key not in found or rank < found[key][0]:
                found[key] = (rank, source)
            break
    if not found:
        raise InputMissing(
            f"none of the {len(paths)} files is an image of this data set",
            where=f"--dataset {described.name}",
            expected=" or ".join(kind.match for kind in described.images),
            fix="check the folder, or ingest it without --dataset",
        )
    return sorted((source for _, source in found.values()), key=lambda source: source.relative)


def match_mask_files(
    located: PathResolver, paths: list[str], described: DatasetDescriptor
) -> dict[str, list[MaskFile]]:
    """Mask files by image id."""
    result: dict[str, list[MaskFile]] = {}
    for rule in described.masks:
        for relative in paths:
            match = search_pattern(rule.match, relative)
            if match is None:
                continue
            said = match.groupdict().get("structure") or rule.structure or ""
            name = rule.rename.get(said, said)
            result.setdefault(match["id"], []).append(MaskFile(located(relative), name, rule))
    return result


def sample_sources(found: list[ImageSource], limit: int | None, seed: int) -> list[ImageSource]:
    """At most `limit` of the sources, drawn at random, order kept."""
    if limit is None or limit >= len(found):
        return found
    chosen = np.random.default_rng([seed, len(found)]).permutation(len(found))[:limit]
    return [found[index] for index in sorted(chosen.tolist())]
