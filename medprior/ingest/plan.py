"""Lists the images of an input with their masks, in a fixed order."""

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
        structure: its structure, where it holds a single one.
        rule: how to read the file.
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
        stretch: scale the file's value range to black and white.
        masks: mask files of the image.
    """

    path: str
    relative: str
    key: str
    raw: RawFormat | None
    masks: tuple[MaskFile, ...]
    stretch: bool = False


def list_files(root: Path, skipped: tuple[Path, ...]) -> Iterator[str]:
    """Relative paths of all files and links below `root`; links are not followed."""
    skipped_paths = {str(path.absolute()) for path in skipped}
    for parent, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if str(Path(parent, name).absolute()) not in skipped_paths)
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield os.path.relpath(Path(parent, name), root).replace(os.sep, "/")


def list_sources(root: Path, descriptor: DatasetDescriptor, skipped: tuple[Path, ...] = ()) -> list[ImageSource]:
    """All images of a data set below `root`, sorted by path.

    Raises:
        InputMissing: `root` does not exist, or holds no image of this data set.
    """
    root = root.absolute()
    if root.is_dir():
        paths = sorted(list_files(root, skipped))
    elif root.exists():
        paths, root = [root.name], root.parent
    else:
        raise InputMissing("no such file or folder", where="INPUT", fix="check the path")
    if not paths:
        raise MedpriorError("the input folder is empty", where="INPUT", fix="check the path")
    return match_sources(paths, lambda relative: str(root / relative), descriptor)


def match_sources(paths: list[str], resolve: PathResolver, descriptor: DatasetDescriptor) -> list[ImageSource]:
    """Those of `paths` that are images of a data set, with their masks, sorted by path.

    Args:
        paths: of all files, below the input, sorted.
        resolve: path below the input -> full path or URL.
        descriptor: the data set.

    Raises:
        InputMissing: no path is an image of this data set.
    """
    masks = match_mask_files(resolve, paths, descriptor)
    ranked: dict[str, tuple[int, ImageSource]] = {}
    for relative in paths:
        if descriptor.exclude and search_pattern(descriptor.exclude, relative):
            continue
        for rank, kind in enumerate(descriptor.images):
            match = search_pattern(kind.match, relative)
            if match is None:
                continue
            key = match["id"]
            source = ImageSource(
                resolve(relative),
                relative,
                key,
                kind.raw,
                tuple(masks.get(key, ())),
                kind.stretch,
            )
            if key not in ranked or rank < ranked[key][0]:
                ranked[key] = (rank, source)
            break
    if not ranked:
        raise InputMissing(
            f"none of the {len(paths)} files is an image of this data set",
            where=f"--dataset {descriptor.name}",
            expected=" or ".join(kind.match for kind in descriptor.images),
            fix="check the folder, or ingest it without --dataset",
        )
    return sorted((source for _, source in ranked.values()), key=lambda source: source.relative)


def match_mask_files(
    resolve: PathResolver, paths: list[str], descriptor: DatasetDescriptor
) -> dict[str, list[MaskFile]]:
    """Mask files by image id."""
    result: dict[str, list[MaskFile]] = {}
    for rule in descriptor.masks:
        for relative in paths:
            match = search_pattern(rule.match, relative)
            if match is None:
                continue
            source_name = match.groupdict().get("structure") or rule.structure or ""
            name = rule.rename.get(source_name, source_name)
            result.setdefault(match["id"], []).append(MaskFile(resolve(relative), name, rule))
    return result


def sample_sources(sources: list[ImageSource], limit: int | None, seed: int) -> list[ImageSource]:
    """At most `limit` of the sources, sampled at random, in their order."""
    if limit is None or limit >= len(sources):
        return sources
    rows = np.random.default_rng([seed, len(sources)]).permutation(len(sources))[:limit]
    return [sources[index] for index in sorted(rows.tolist())]
