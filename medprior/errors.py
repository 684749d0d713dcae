"""The errors a user can cause, each with what, where, expected against found, and the next step."""

from __future__ import annotations


class MedpriorError(Exception):
    """The user's input was refused; the command line prints one line and exits with 2.

    Args:
        what: what is wrong, in plain words and without patient data.
        where: the argument, file of ours or config key it was found in.
        expected: what would have been right.
        found: what was there instead.
        fix: the next step for the user.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", expected: str = "", found: str = "", fix: str = "") -> None:
        self.what, self.where, self.expected, self.found, self.fix = (
            what,
            where,
            expected,
            found,
            fix,
        )
        text = f"{where}: {what}" if where else what
        if expected:
            text += f"; expected {expected}"
        if found:
            text += f", found {found}"
        if fix:
            text += f"; {fix}"
        super().__init__(" ".join(text.split()))


class ConfigError(MedpriorError):
    """A configuration file or override that does not fit; all its faults are named at once."""


class InputMissing(MedpriorError):
    """A file or folder that a stage needs is not there, or is not what it must be."""


class TrainingFailed(MedpriorError):
    """Training stopped itself (collapse, non-finite loss); names the setting to turn."""

    exit_code = 3


class TrainingCollapsed(TrainingFailed):
    """The network says the same of every image: a result of its settings."""


class TrainingDiverged(TrainingFailed):
    """Loss, metric or weights are not finite: a result of its settings."""


class Rejected(MedpriorError):
    """One input file that is no usable radiograph.

    Args:
        code: stable reason code in snake_case, listed in `medprior/dicom/CODES.md`.
        what: one sentence without any value taken from the file's text elements.
    """

    def __init__(self, code: str, what: str, *, fix: str = "") -> None:
        self.code = code
        super().__init__(what, where=code, fix=fix)

    def __reduce__(self) -> tuple[type[Rejected], tuple[str, str]]:
        """Survive the trip from a worker process."""
        return Rejected, (self.code, self.what)
