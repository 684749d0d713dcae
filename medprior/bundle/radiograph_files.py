"""A folder of radiographs as a PyTorch dataset, read in the same way as in every stage."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset

from medprior.deploy.inference.predict_files import list_source_files
from medprior.dicom.bounded_reader import BoundedReader
from medprior.ingest import plan
from medprior.ingest.descriptor import load_descriptor


class RadiographSample(TypedDict):
    """One radiograph: `image` float32 [1, rows, cols] in [0, 1], air dark, bone bright."""

    image: Tensor


class RadiographDataset(Dataset[RadiographSample]):
    """The files at or below a path, sorted; each is decoded in a confined process.

    Args:
        path: a file or a folder.
        descriptor: name or path of a dataset descriptor that specifies which files are images.

    Raises:
        InputMissing: no files at `path`. Rejected: on access, the file is no usable radiograph.
    """

    def __init__(self, path: Path | str, descriptor: str | None = None) -> None:
        self.reader = BoundedReader()
        self.data = list_source_files(Path(path))
        if descriptor is not None:
            sources = plan.list_sources(Path(path), load_descriptor(descriptor))
            self.data = [Path(source.path) for source in sources]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> RadiographSample:
        return {"image": torch.from_numpy(self.reader.read(self.data[index]).pixels)[None]}
