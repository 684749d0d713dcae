"""Errors that a user can cause, each with what, where, expected against found, and the next step."""

from __future__ import annotations

from collections.abc import Iterable


class MedpriorError(Exception):
    """The user's input was refused; the command line prints one line and exits with 2.

    Args:
        what: what is wrong, in plain words and without patient data.
        where: argument, medprior file or configuration key with the fault.
        expected: the valid input.
        found: the actual input.
        fix: the next step for the user.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", expected: str = "", found: str = "", fix: str = "") -> None:
        self.what, self.where, self.expected = what, where, expected
        self.found, self.fix = found, fix
        text = f"{where}: {what}" if where else what
        if expected:
            text += f"; expected {expected}"
        if found:
            text += f", found {found}"
        if fix:
            text += f"; {fix}"
        super().__init__(" ".join(text.split()))


class ConfigError(MedpriorError):
    """An invalid configuration file or override; the message names all faults."""


class InputMissing(MedpriorError):
    """A file or folder that a stage needs is missing or of the wrong kind."""


class TrainingFailed(MedpriorError):
    """Training stopped itself (collapse, non-finite loss); the message names the setting to change."""

    exit_code = 3


class TrainingCollapsed(TrainingFailed):
    """The network gives the same output for every image, a result of its settings."""


class TrainingDiverged(TrainingFailed):
    """Loss, metric or weights are not finite, a result of the settings."""


class Rejected(MedpriorError):
    """One input file is no usable radiograph.

    Args:
        code: stable reason code in snake_case, listed in `medprior/dicom/CODES.md`.
        what: one sentence without any value taken from the file's text elements.
    """

    def __init__(self, code: str, what: str, *, fix: str = "") -> None:
        self.code = code
        super().__init__(what, where=code, fix=fix)

    def __reduce__(self) -> tuple[type[Rejected], tuple[str, str]]:
        """Support pickling, so that worker processes can raise it."""
        return Rejected, (self.code, self.what)


def suggest_nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean ...?` with the nearest of `known`; empty where none is near."""
    from difflib import get_close_matches  # needed for a mistake only

    nearest = get_close_matches(name, list(known), n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else ""
