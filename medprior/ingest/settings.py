"""Defines the settings of the ingest stage."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from medprior.dicom import Policy
from medprior.settings import Settings


class IngestSettings(Settings):
    """Settings of an ingest run.

    Attributes:
        store_size: longest side of stored images, in pixels.
        seed: of the split and of the sample of `limit` files.
        limit: maximum number of files, sampled at random; None for all.
        fractions: expected shares of train, val and test where the data set has no official split.
        workers: decoding processes; None for one per core.
        memory_mb: address space of a worker in MB, in addition to that at its start.
        cpu_seconds: processor time for one file, plus one second for each 10 MB.
        wall_seconds: time after which an unresponsive worker is ended.
        scheduler: address of a Dask scheduler whose workers read the files; None for this machine.
        follow_links: links to files that are read: `none`, those to files `inside` INPUT (git-annex and DataLad, whose
            content lies in INPUT/.git), or `all`. Links to folders are never followed.
        check_pixels: flag images that the anatomy model takes for no upright frontal chest with dark air.
        policy: acceptance criteria for radiographs.
    """

    store_size: int = Field(default=512, ge=16, le=16384)
    seed: int = 0
    limit: int | None = Field(default=None, ge=1)
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)
    workers: int | None = Field(default=None, ge=1)
    memory_mb: int = Field(default=800, ge=64)
    cpu_seconds: float = Field(default=4.0, gt=0)
    wall_seconds: float = Field(default=120.0, gt=0)
    scheduler: str | None = Field(default=None, pattern=r"^[a-z]+://[^/@]+$")
    follow_links: Literal["none", "inside", "all"] = "none"
    check_pixels: bool = False
    policy: Policy = Policy()

    def dump_cohort_settings(self) -> dict[str, Any]:
        """The JSON-able settings that affect the cohort: all but `workers` and `scheduler`."""
        return self.model_dump(mode="json", exclude={"workers", "scheduler"})
