"""Settings of the DICOM node, and of sending results to an archive."""

from __future__ import annotations

import ipaddress

from pydantic import Field, field_validator

from medprior.settings import Settings

MAX_AET_CHARACTERS = 16


class DeliverySettings(Settings):
    """What is sent to an archive, and when it is tried again.

    Attributes:
        objects: kinds of objects that are sent.
        min_free_mb: free space on disk below which nothing is taken, MiB.
        first_wait_seconds: wait after the first failed delivery; doubled after each further one.
        longest_wait_seconds: longest wait between two deliveries.
    """

    objects: tuple[str, ...] = ("seg", "sr")
    min_free_mb: int = Field(default=512, ge=0)
    first_wait_seconds: float = Field(default=1.0, gt=0)
    longest_wait_seconds: float = Field(default=60.0, gt=0)


class NodeSettings(DeliverySettings):
    """Limits and sizes; the defaults suit two cores and 4 GiB of memory.

    Attributes:
        aet: AE title of this node; calls to another title are refused.
        host: address to listen on.
        port: DICOM port; 0 takes a free one.
        http_port: port of `/metrics` and `/health` on the same address; 0 takes a free one.
        known: AE titles that may call.
        max_associations: open associations; one more is refused and may try again.
        max_mb: largest message, MiB; the connection of a larger one is closed.
        message_seconds: longest time between two messages, and for one protocol data unit to arrive.
        waiting: radiographs that may wait on disk; one more is refused as out of resources (A700).
        workers: radiographs read at once.
        attempts: how often a radiograph is read whose reading ended the process or met a fault.
        refuse_unfamiliar: send nothing for images unlike the training images.
    """

    aet: str = "MEDPRIOR"
    host: str = "127.0.0.1"
    port: int = Field(default=11112, ge=0, le=65535)
    http_port: int = Field(default=11113, ge=0, le=65535)
    known: tuple[str, ...] = ()
    max_associations: int = Field(default=16, ge=1, le=256)
    max_mb: int = Field(default=128, ge=1)
    message_seconds: float = Field(default=30.0, gt=0)
    waiting: int = Field(default=10_000, ge=1)
    workers: int = Field(default=2, ge=1, le=64)
    attempts: int = Field(default=3, ge=1)
    refuse_unfamiliar: bool = False

    @field_validator("aet", "known")
    @classmethod
    def check_titles(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """AE titles have 1 to 16 printable characters without a backslash (PS3.5 6.2)."""
        for title in (value,) if isinstance(value, str) else value:
            if not is_ae_title(title):
                raise ValueError("an AE title has 1 to 16 printable ASCII characters without a backslash")
        return value

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def is_ae_title(text: str) -> bool:
    """Whether a text can be an AE title."""
    is_printable = text.isascii() and text.isprintable() and "\\" not in text
    return is_printable and text == text.strip() and 1 <= len(text) <= MAX_AET_CHARACTERS
