"""Settings of the ingest stage."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from medprior.dicom import Policy
from medprior.settings import Settings


class IngestSettings(Settings):
    """How a folder becomes a cohort.

    Attributes:
        store_size: longest side of stored pictures, in pixels.
        seed: of the split and of `limit`'s draw.
        limit: at most so many files, drawn at random; None for all.
        fractions: expected shares of train, val and test where the data set has none.
        workers: decoding processes; None for one per core.
        memory_mb: address space of a worker beyond what it has at its start.
        cpu_seconds: processor time that one file may take, and one more second for each 10 MB.
        wall_seconds: time after which a silent worker is ended.
        scheduler: address of a Dask scheduler whose workers read the files; None for this machine.
        policy: what counts as a usable radiograph.
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
    policy: Policy = Policy()

    def lasting(self) -> dict[str, Any]:
        """What shapes the cohort, JSON-able: all but who reads the files."""
        return self.model_dump(mode="json", exclude={"workers", "scheduler"})
