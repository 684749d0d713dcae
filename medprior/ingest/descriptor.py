"""Defines descriptors of data sets: where images, labels, masks and splits are."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from medprior.errors import ConfigError, InputMissing
from medprior.resources import find_resource_folder
from medprior.settings import Settings, read_mapping

FOLDER_VARIABLE = "MEDPRIOR_DATA_MANIFESTS"
ANY_PATH = r"^(?P<id>.*)$"
IMAGE_SUFFIX = re.compile(r"\.(png|jpe?g|dcm|dicom|gif|img|bmp|tiff?)$", re.IGNORECASE)


def validate_pattern(pattern: str) -> str:
    """Return a valid regular expression; raise ValueError for any other text."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error})") from None
    return pattern


Pattern = Annotated[str, AfterValidator(validate_pattern)]


class RawFormat(Settings):
    """A headerless file of rows x cols unsigned 16-bit samples.

    Attributes:
        rows: rows.
        cols: columns.
        bits: bits used.
        big_endian: byte order.
        inverted: low values are bright.
        spacing_mm: millimetres per pixel, where published.
    """

    rows: int
    cols: int
    bits: int
    big_endian: bool = True
    inverted: bool = False
    spacing_mm: float | None = None


class ImageRule(Settings):
    """Which files are images.

    Attributes:
        match: expression on the path below the input, with the group `id`.
        raw: set for headerless files.
        stretch: scale the file's smallest value to black and its largest to white.
    """

    match: Pattern
    raw: RawFormat | None = None
    stretch: bool = False

    @field_validator("match")
    @classmethod
    def _has_id(cls, value: str) -> str:
        if "(?P<id>" not in value:
            raise ValueError("needs a group (?P<id>...)")
        return value


class MaskRule(Settings):
    """Which files are masks.

    Attributes:
        match: expression on the path below the input, with the group `id` of the image and
            optionally the group `structure`.
        structure: name of the structure where `match` has no such group.
        rename: structure names of the source -> medprior's.
        bits: bit value -> structure, for several structures in one file.
        split_components: structures for the two largest components, first the one further left in
            the image (the patient's right).
    """

    match: Pattern
    structure: str | None = None
    rename: dict[str, str] = Field(default_factory=dict)
    bits: dict[int, str] = Field(default_factory=dict)
    split_components: tuple[str, str] | None = None


class FindingsColumn(Settings):
    """A column that lists the findings that are present.

    Attributes:
        columns: possible names of the column; the first that exists is used.
        separator: between findings.
        names: finding in the column, in any case -> medprior's label or labels; a label is present where one of its
            findings is listed; other findings are ignored.
        uninformative: entries, in any case, that say nothing about findings, such as "unchanged": where one is listed,
            findings that are not listed are unknown instead of absent.
    """

    columns: tuple[str, ...]
    separator: str = "|"
    names: dict[str, str | tuple[str, ...]]
    uninformative: tuple[str, ...] = ()


class TableRule(Settings):
    """A CSV table about images.

    Attributes:
        files: possible names below the input; the first that exists is read.
        required: whether one of them must exist.
        about: whether a row is about an image or about a study; see `study_from_name`.
        repeated: how the labels of several rows about one image or study are combined.
        key: possible names of the column with the image; the first that exists is used.
        key_match: expression with the group `id` on the key; by default its last path part without
            suffix.
        facts: patient_id, study_id, sex, age, view, split -> column (the first that exists).
        labels: label -> column (the first that exists).
        findings: a column that lists the findings that are present.
        other_labels: every other numeric column is a label.
        values: texts of label cells -> number, null for unknown; before the words that are always read:
            true/yes/positive, false/no/negative, and empty, NA, NaN, unknown, uncertain for unknown.
        splits: texts of the split column -> train, val, test, train_val.
        excluded: column -> cells, in any case, that mark an image that is no chest radiograph; it is not read, and
            counted.
    """

    files: tuple[str, ...]
    required: bool = True
    about: Literal["image", "study"] = "image"
    repeated: Literal["mean", "max"] = "mean"
    key: tuple[str, ...]
    key_match: Pattern | None = None
    facts: dict[Literal["patient_id", "study_id", "sex", "age", "view", "split"], tuple[str, ...]] = Field(
        default_factory=dict
    )
    labels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    findings: FindingsColumn | None = None
    other_labels: bool = False
    values: dict[str, float | None] = Field(default_factory=dict)
    splits: dict[str, Literal["train", "val", "test", "train_val"]] = Field(default_factory=dict)
    excluded: dict[str, tuple[str, ...]] = Field(default_factory=dict)


class BoxRule(Settings):
    """A CSV table of boxes around findings, in square pixels of the image file.

    Attributes:
        files: possible names below the input; the first that exists is read; all are optional.
        key: possible names of the column with the image; the first that exists is used.
        key_match: as of `TableRule`.
        label: column with the finding; without it every box has `finding`.
        finding: see `label`.
        rename: findings of the source -> medprior's labels.
        x: possible names of the column of the left edge; the first that exists is used.
        y: column of the upper edge.
        width: column of the width.
        height: column of the height. A row without four numbers is skipped.
    """

    files: tuple[str, ...]
    key: tuple[str, ...]
    key_match: Pattern | None = None
    label: tuple[str, ...] = ()
    finding: str | None = None
    rename: dict[str, str] = Field(default_factory=dict)
    x: tuple[str, ...] = ("x",)
    y: tuple[str, ...] = ("y",)
    width: tuple[str, ...] = ("width",)
    height: tuple[str, ...] = ("height",)


class MeasurementRule(Settings):
    """A CSV table of numbers measured in images, for evaluation; they are no labels and nothing learns from them.

    Attributes:
        files: possible names below the input; the first that exists is read; all are optional.
        key: possible names of the column with the image; the first that exists is used.
        key_match: as of `TableRule`.
        columns: name of the measurement -> possible names of its column; `ctr` is the cardiothoracic ratio.
    """

    files: tuple[str, ...]
    key: tuple[str, ...]
    key_match: Pattern | None = None
    columns: dict[str, tuple[str, ...]] = Field(min_length=1)


class FileNameLabel(Settings):
    """A label from the file name; unknown where neither expression matches.

    Attributes:
        present: expression on the path below the input.
        absent: expression on the path below the input.
    """

    present: Pattern
    absent: Pattern


class OfficialSplitRule(Settings):
    """Part of an official split: a list file of image names, or an expression on paths.

    Attributes:
        split: train, val, test, or train_val (train or val by hash).
        files: possible list files; the first that exists is read; all are optional.
        match: images whose path below the input matches.
    """

    split: Literal["train", "val", "test", "train_val"]
    files: tuple[str, ...] = ()
    match: Pattern | None = None


class DatasetDescriptor(Settings):
    """One data set.

    Attributes:
        name: short name, the manifest's `dataset`.
        title: full name.
        homepage: where the data set is described and obtained.
        licence: terms of use.
        citation: what to cite.
        identity: `public` where ids are published pseudonyms (the same ids for everybody; only in descriptors
            that come with medprior), `private` where they need pseudonyms under the user's own key.
        images: kinds of image files; the first that matches a file applies.
        exclude: expression for paths that are never images.
        tables: tables about images.
        labels_from_name: label -> expressions on the path.
        patient_from_name: expression on the path with the group `id`.
        study_from_name: expression on the path with the group `id`, the key of study tables.
        views_from_name: view -> expression on the path.
        view: view of images without any other information.
        policy: changes of the default policy for this data set; see `medprior.dicom.Policy`.
        masks: kinds of mask files.
        boxes: tables of boxes around findings.
        measurements: tables of numbers measured in images.
        splits: the official split.
    """

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    title: str
    homepage: str = ""
    licence: str
    citation: str = ""
    identity: Literal["public", "private"] = "private"
    images: tuple[ImageRule, ...] = Field(min_length=1)
    exclude: Pattern | None = None
    tables: tuple[TableRule, ...] = ()
    labels_from_name: dict[str, FileNameLabel] = Field(default_factory=dict)
    patient_from_name: Pattern | None = None
    study_from_name: Pattern | None = None
    views_from_name: dict[str, Pattern] = Field(default_factory=dict)
    policy: dict[str, bool | int | str] = Field(default_factory=dict)
    view: str | None = None
    masks: tuple[MaskRule, ...] = ()
    boxes: tuple[BoxRule, ...] = ()
    measurements: tuple[MeasurementRule, ...] = ()
    splits: tuple[OfficialSplitRule, ...] = ()

    @property
    def has_image_ids(self) -> bool:
        """Whether images have ids of the data set's own, and not only their paths."""
        return self.images[0].match != ANY_PATH


# Data sets whose ids are published pseudonyms, described by medprior.
PUBLIC_DATASETS = {
    "chexpert", "genblock", "hannover", "jsrt", "kermany", "mimic_cxr_jpg", "montgomery", "nih", "padchest", "phantom",
    "rsna", "shenzhen", "vindr_cxr", "wingspan",
}  # fmt: skip
GENERIC_DATASET = DatasetDescriptor(
    name="files",
    title="a folder of files",
    licence="unknown",
    images=(ImageRule(match=ANY_PATH),),
)


def descriptor_folder() -> Path:
    """Folder of descriptors: `MEDPRIOR_DATA_MANIFESTS`, else the one that comes with medprior."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) if folder else find_resource_folder("data_manifests")


def load_descriptor(name: str | None) -> DatasetDescriptor:
    """The descriptor of a data set by name or path; `GENERIC_DATASET` for None.

    Raises:
        InputMissing: there is no such descriptor.
        ConfigError: the descriptor does not fit the schema.
    """
    if name is None:
        return GENERIC_DATASET
    path = Path(name) if name.endswith((".yaml", ".yml", ".json")) else descriptor_folder() / f"{name}.yaml"
    if not path.is_file():
        available = ", ".join(sorted(file.stem for file in descriptor_folder().glob("*.yaml"))) or "none"
        raise InputMissing(
            "no such data set descriptor",
            where=f"--dataset {Path(name).name}",
            expected=f"a path to one, or one of: {available}",
            fix=f"set {FOLDER_VARIABLE} to the folder that has it",
        )
    values = read_mapping(path)
    if not isinstance(values, dict):
        raise ConfigError(
            "the descriptor is not a mapping of keys to values",
            where=path.name,
            expected="key: value",
            found=type(values).__name__,
        )
    descriptor = DatasetDescriptor.from_values(values, path.name)
    check_public_identity(descriptor, path)
    return descriptor


def check_public_identity(descriptor: DatasetDescriptor, path: Path) -> None:
    """Refuse `identity: public` outside the descriptors that come with medprior.

    Public pseudonyms have a key that everybody knows: with real ids they can be turned back by trying.

    Raises:
        ConfigError: the descriptor lies elsewhere and asks for them.
    """
    if (
        descriptor.identity == "public"
        and path.resolve().parent != find_resource_folder("data_manifests")
        and (descriptor.name not in PUBLIC_DATASETS or path.resolve().parent != descriptor_folder().resolve())
    ):
        raise ConfigError(
            "public pseudonyms can be turned back into ids by anybody",
            where=path.name,
            expected="identity: private",
            found="identity: public",
            fix="leave the key out: pseudonyms are then made under your own key",
        )


def search_pattern(pattern: str, text: str) -> re.Match[str] | None:
    """Match of a descriptor's expression; file names may contain line breaks."""
    return re.search(pattern, text, re.DOTALL)


def parse_image_key(value: str, pattern: str | None) -> str:
    """The image id in a table cell or list line."""
    text = value.strip()
    if pattern is not None:
        match = search_pattern(pattern, text)
        return match["id"] if match else ""
    return IMAGE_SUFFIX.sub("", text.replace("\\", "/").rsplit("/", 1)[-1])
