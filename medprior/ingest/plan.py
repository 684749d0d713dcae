"""Lists the images of an input with their masks, in a fixed order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from medprior.errors import ConfigError, InputMissing, MedpriorError
from medprior.ingest.descriptor import DatasetDescriptor, MaskRule, RawFormat, search_pattern

PathResolver = Callable[[str], str]
FollowLinks = Literal["none", "inside", "all"]
REPOSITORY_FOLDERS = {".git", ".datalad"}


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
        target: the file that a followed link at `path` leads to; empty for no link.
        superseded: files with the same id that match a later kind of image and are not read.
    """

    path: str
    relative: str
    key: str
    raw: RawFormat | None
    masks: tuple[MaskFile, ...]
    stretch: bool = False
    target: str = ""
    superseded: int = 0

    @property
    def file_path(self) -> str:
        """The file to read: the target of a followed link, else `path`."""
        return self.target or self.path


def list_files(root: Path, skipped: tuple[Path, ...]) -> Iterator[str]:
    """Relative paths of all files and links below `root`; links are not followed, repositories' own folders skipped."""
    skipped_paths = {str(path.absolute()) for path in skipped}
    for parent, folders, files in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if name not in REPOSITORY_FOLDERS and str(Path(parent, name).absolute()) not in skipped_paths
        )
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield os.path.relpath(Path(parent, name), root).replace(os.sep, "/")


def list_sources(
    root: Path, descriptor: DatasetDescriptor, skipped: tuple[Path, ...] = (), follow_links: FollowLinks = "none"
) -> list[ImageSource]:
    """All images of a data set below `root`, sorted by path.

    Args:
        root: folder or file.
        descriptor: the data set.
        skipped: folders below `root` that are not searched.
        follow_links: links to files that are read: none, those to files inside `root`, or all. A link that is not
            followed stays in the list, and is refused when it is read.

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
    sources = match_sources(paths, lambda relative: str(root / relative), descriptor)
    if follow_links == "none":
        return sources
    resolved = root.resolve()
    return [follow_source_links(source, resolved, follow_links) for source in sources]


def follow_source_links(source: ImageSource, root: Path, follow_links: FollowLinks) -> ImageSource:
    """The source with the targets of its own link and of those of its masks."""
    masks = tuple(
        replace(mask, path=find_link_target(mask.path, root, follow_links) or mask.path) for mask in source.masks
    )
    return replace(source, target=find_link_target(source.path, root, follow_links), masks=masks)


def find_link_target(path: str, root: Path, follow_links: FollowLinks) -> str:
    """The regular file that a link leads to; empty for no link, a broken one, or one out of the resolved `root`."""
    link = Path(path)
    if not link.is_symlink():
        return ""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return ""
    is_allowed = follow_links == "all" or target.is_relative_to(root)
    return str(target) if is_allowed and target.is_file() else ""


def match_sources(paths: list[str], resolve: PathResolver, descriptor: DatasetDescriptor) -> list[ImageSource]:
    """Those of `paths` that are images of a data set, with their masks, sorted by path.

    Args:
        paths: of all files, below the input, sorted.
        resolve: path below the input -> full path or URL.
        descriptor: the data set.

    Raises:
        InputMissing: no path is an image of this data set.
        ConfigError: several files of one kind have the same id.
    """
    masks = match_mask_files(resolve, paths, descriptor)
    ranked: dict[str, tuple[int, ImageSource]] = {}
    files_by_key: Counter[str] = Counter()
    equal_names: dict[str, list[str]] = {}
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
            files_by_key[key] += 1
            if key not in ranked or rank < ranked[key][0]:
                ranked[key] = (rank, source)
                equal_names.pop(key, None)
            elif rank == ranked[key][0]:
                equal_names.setdefault(key, [ranked[key][1].relative]).append(relative)
            break
    refuse_equal_names(equal_names, descriptor.name)
    if not ranked:
        raise InputMissing(
            f"none of the {len(paths)} files is an image of this data set",
            where=f"--dataset {descriptor.name}",
            expected=" or ".join(kind.match for kind in descriptor.images),
            fix="check the folder, or ingest it without --dataset",
        )
    sources = [
        replace(source, superseded=files_by_key[key] - 1) if files_by_key[key] > 1 else source
        for key, (_, source) in ranked.items()
    ]
    return sorted(sources, key=lambda source: source.relative)


def refuse_equal_names(paths_by_key: Mapping[str, list[str]], dataset: str) -> None:
    """Raise ConfigError where files share an image id: they would become one image with labels of all.

    Args:
        paths_by_key: image id -> paths of two or more files.
        dataset: the descriptor's name.
    """
    if not paths_by_key:
        return
    paths = [path for shared in paths_by_key.values() for path in shared]
    # Paths may hold names of patients; `what` is also recorded by MLflow, `found` goes to stderr alone.
    raise ConfigError(
        f"{len(paths)} files share {len(paths_by_key)} image id(s)",
        where=f"--dataset {dataset}",
        expected="an id of its own for every image",
        found=", ".join(paths[:3]) + (", ..." if len(paths) > 3 else ""),
        fix="let the group (?P<id>...) of `images` hold the folders too, and `key_match` of the tables likewise, as the"
        " comments in data_manifests/template.yaml show; name copies in `exclude`",
    )


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
