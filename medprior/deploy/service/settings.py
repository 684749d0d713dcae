"""Settings of the HTTP service."""

from __future__ import annotations

from pydantic import Field

from medprior.deploy.node.settings import DeliverySettings
from medprior.pages.access import AccessSettings
from medprior.settings import Settings


class ServiceSettings(Settings):
    """Limits and sizes; the defaults suit two cores and 4 GiB of memory.

    Attributes:
        access: address, token and request limits.
        queue: radiographs in work or waiting; one more is 503 with Retry-After.
        held_mb: bytes of request bodies held at once, in MiB; more is 503 with Retry-After.
        seconds: longest time from a whole request body to its answer.
        threads: radiographs processed at once, beside the decoding processes.
        batch: most views in one batch.
        refuse_unfamiliar: refuse images unlike the training images (422 `far_from_training`)
            instead of flagging them.
        window_ms: how long a view waits for others to join its batch.
        delivery: of the objects of store requests, where they are sent on to an archive.
    """

    access: AccessSettings = AccessSettings()
    queue: int = Field(default=64, ge=1)
    held_mb: int = Field(default=256, ge=1)
    seconds: float = Field(default=60.0, gt=0)
    threads: int = Field(default=4, ge=1, le=64)
    batch: int = Field(default=4, ge=1, le=256)
    refuse_unfamiliar: bool = False
    window_ms: float = Field(default=4.0, ge=0, le=1000)
    delivery: DeliverySettings = DeliverySettings()
