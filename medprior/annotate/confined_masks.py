"""Reads mask files of other tools in a confined process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeGuard

import numpy as np
from numpy.typing import NDArray

from medprior.annotate.imported_masks import ImportedMasks
from medprior.annotate.mask_inputs import MaskFileReader
from medprior.annotate.picture_grids import PictureGrids
from medprior.annotate.volumes import link_scratch_file
from medprior.dicom import Policy, Radiograph
from medprior.dicom.bounded_reader import FAILURE_TEXTS, PRELOADED_MODULES, START_FIX, send_with_files
from medprior.dicom.file_opening import GIVEN_FILES
from medprior.dicom.radiograph import dump_metadata, restore_radiograph
from medprior.errors import MedpriorError
from medprior.workers.messages import MessageError, receive_message
from medprior.workers.sandbox import (
    Message,
    MessageHandler,
    ProcessLimits,
    ProcessStartError,
    SandboxedProcess,
    start_ready_process,
)

# COCO files of a whole data set have hundreds of megabytes.
LIMITS = ProcessLimits(memory_mb=4096, cpu_seconds=30.0)
RadiographMaskReader = Callable[[Path, Radiograph, Path | None, str], ImportedMasks]
ERROR_FIELDS = ("what", "where", "expected", "found", "fix")


@dataclass(frozen=True)
class MaskTask:
    """What a confined process has to know of the image, JSON-able.

    Attributes:
        picture: see `MaskFileReader`.
        default_shape: rows and columns that masks usually have.
        as_stored: see `MaskInputs`.
        shape: rows and columns of the radiograph.
        metadata: of `dump_metadata`; never shown, never written.
        image: path of the radiograph's file, None for an image of a cohort.
    """

    picture: str
    default_shape: tuple[int, int]
    as_stored: bool
    shape: tuple[int, int]
    metadata: dict[str, Any] = field(repr=False)
    image: str | None = field(default=None, repr=False)


class ConfinedMaskReader:
    """Reads mask files of one image in one confined process; close it after use.

    Args:
        grids: grids of the image.
        picture: see `MaskFileReader`.
        radiograph: the image.
        read_dicom: an importable function that reads a DICOM SEG or RTSTRUCT of the image.
        image: its file, None for an image of a cohort.
        as_stored: see `MaskInputs`.
        limits: resources of the process for one file.
    """

    def __init__(
        self,
        grids: PictureGrids,
        picture: str,
        radiograph: Radiograph,
        read_dicom: RadiographMaskReader,
        image: Path | None = None,
        as_stored: bool = False,
        limits: ProcessLimits = LIMITS,
    ) -> None:
        self.limits, self._stack, self._read_dicom = limits, ExitStack(), read_dicom
        rows, cols = radiograph.pixels.shape
        self._task = MaskTask(
            picture, grids.default_shape, as_stored, (rows, cols), dump_metadata(radiograph),
            str(image) if image is not None else None,
        )  # fmt: skip
        self._process: SandboxedProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._stack.close()
        self._process = None

    def read_file(self, path: Path, where: str) -> ImportedMasks:
        """All masks of the image in one file; see `MaskFileReader.read_file`.

        Raises:
            MedpriorError: the file is unusable, or its parser crashed or exceeded the limits.
        """
        return self._ask(path, {"where": where})

    def read_single(self, path: Path, name: str) -> ImportedMasks:
        """The only structure of a file, as `name`; see `MaskFileReader.read_single`.

        Raises:
            MedpriorError: as `read_file`.
        """
        where = f"--mask {name}"
        imported = self._ask(path, {"where": where, "name": name})
        if list(imported.masks) != [name]:
            raise MedpriorError("the process that read the file gave no mask of this name", where=where)
        return imported

    def _ask(self, path: Path, question: dict[str, str]) -> ImportedMasks:
        process = self._process = self._process or self._start_process()
        deadline = time.monotonic() + self.limits.wall_seconds
        paths = [str(path)] if self._task.image is None else [str(path), self._task.image]
        try:
            send_with_files(process.channel, question | {"path": str(path)}, paths, Policy(), deadline)
            answer, arrays = receive_message(process.channel, deadline)
        except MessageError as error:
            code = "timeout" if error.timed_out else process.end_and_get_reject_code()
            self.close()
            what = f"the file cannot be read ({code})"
            raise MedpriorError(what, where=question["where"], fix=FAILURE_TEXTS[code]) from None
        if "error" in answer:
            texts = {key: str(answer["error"].get(key, "")) for key in ERROR_FIELDS}
            raise MedpriorError(texts.pop("what"), **texts)
        return restore_masks(answer, arrays, question["where"])

    def _start_process(self) -> SandboxedProcess:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="medprior-"))
        try:
            process = start_ready_process(
                build_mask_message_handler, (self._task, self._read_dicom, folder), self.limits, PRELOADED_MODULES
            )
        except ProcessStartError:
            raise MedpriorError("the process that reads masks does not start", fix=START_FIX) from None
        self._stack.callback(process.end)
        return process


def restore_masks(answer: dict[str, Any], arrays: list[NDArray[Any]], where: str) -> ImportedMasks:
    """The masks in an answer; the process may have been taken over, so that nothing of it is taken on trust.

    Raises:
        MedpriorError: it is not an answer.
    """
    names, warnings = answer.get("names"), answer.get("warnings")
    if not is_text_list(names) or not is_text_list(warnings) or len(names) != len(arrays):
        raise MedpriorError("the process that read the file gave no valid answer", where=where)
    if not all(array.ndim == 2 and array.dtype == np.bool_ for array in arrays):
        raise MedpriorError("the process that read the file gave no masks", where=where)
    return ImportedMasks(dict(zip(names, arrays, strict=True)), answer.get("is_upright") is True, tuple(warnings))


def is_text_list(value: Any) -> TypeGuard[list[str]]:
    """Whether a value is a list of texts."""
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def build_mask_message_handler(task: MaskTask, read_dicom: RadiographMaskReader, folder: str) -> MessageHandler:
    """Create, in the process and before it is confined, the handler that reads one mask file for each message.

    Args:
        task: the image.
        read_dicom: see `ConfinedMaskReader`.
        folder: an empty folder for names of the file in memory.
    """
    pixels = np.broadcast_to(np.float32(0), task.shape)
    radiograph = restore_radiograph(task.metadata, pixels, np.broadcast_to(np.True_, task.shape))
    image = Path(task.image) if task.image is not None else None
    reader = MaskFileReader(
        PictureGrids(task.shape, ((task.default_shape, ""),)),
        task.picture,
        lambda path, where: read_dicom(path, radiograph, image, where),
        task.as_stored,
        link_scratch_file(Path(folder)),
    )

    def answer(facts: dict[str, Any], _: list[NDArray[Any]]) -> Message:
        """Read one file; every error becomes text."""
        path, where = Path(facts["path"]), facts["where"]
        GIVEN_FILES.replace(facts["files"], facts.get("descriptors", ()))
        try:
            imported = reader.read_single(path, facts["name"]) if "name" in facts else reader.read_file(path, where)
        except MedpriorError as error:
            return {"error": {key: getattr(error, key) for key in ERROR_FIELDS}}, []
        except MemoryError:
            return {"error": {"what": "the file needs more memory than its reader may use", "where": where}}, []
        except Exception as error:
            # A bug in medprior must not end the process either; only the type of the error is kept.
            return {"error": {"what": f"the file cannot be read ({type(error).__name__})", "where": where}}, []
        answers = {
            "names": list(imported.masks),
            "warnings": list(imported.warnings),
            "is_upright": imported.is_upright,
        }
        return answers, list(imported.masks.values())

    return answer
