"""What `medprior bench ingest` is timed against; each runs in a process of its own.

`python -m medprior.bench.ingest_peers NAME FOLDER` prints elapsed and processor seconds of the loop
over the folder's DICOM files as JSON. Imports and one file to warm up are not counted. With `wait`
behind FOLDER it says `ready` when they are done and begins when it is given a line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Loop = Callable[[Path], object]


def pydicom_loop() -> Loop:
    """What people write: `pixel_array`, modality, VOI."""
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    def read(path: Path) -> object:
        """One file."""
        dataset = pydicom.dcmread(path)
        return apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)

    return read


def monai_loop() -> Loop:
    """MONAI's `LoadImage` with its pydicom reader."""
    from monai.transforms.io.array import LoadImage

    load: Any = LoadImage(reader="PydicomReader", image_only=True)
    return lambda path: load(str(path))


def sitk_loop() -> Loop:
    """SimpleITK's `ReadImage`, then the array."""
    import SimpleITK

    def read(path: Path) -> object:
        """One file."""
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))

    return read


def decode_loop() -> Loop:
    """The codec alone, reading and parsing included: the part that nobody can do without.

    Memory is kept as our decoding processes keep it, or the bound would be too low.
    """
    from medprior.dicom import Policy
    from medprior.dicom.opening import opened
    from medprior.dicom.parsing import parsed
    from medprior.dicom.pixel_bytes import pixel_bytes
    from medprior.dicom.stored import cells, layout_of
    from medprior.workers.sandbox import keep_memory

    policy = Policy()
    keep_memory()

    def read(path: Path) -> object:
        """One file."""
        with opened(path, policy) as (stream, size):
            found = parsed(stream, size, policy)
            layout = layout_of(found.header, policy)
            return cells(pixel_bytes(found), found.syntax, layout, found.header.little_endian)

    return read


def radiograph_loop() -> Loop:
    """Our own reading, display-ready, without limits, reduction or store."""
    from medprior.dicom import read_radiograph
    from medprior.workers.sandbox import keep_memory

    keep_memory()
    return lambda path: read_radiograph(path)


LOOPS: dict[str, Callable[[], Loop]] = {
    "pydicom": pydicom_loop,
    "monai": monai_loop,
    "simpleitk": sitk_loop,
    "decode": decode_loop,
    "radiograph": radiograph_loop,
}


def timed(name: str, folder: Path, wait: bool = False) -> dict[str, float]:
    """Elapsed and processor seconds of one loop, and how many files it could not read."""
    paths = sorted(folder.rglob("*.dcm"))
    read, failed = LOOPS[name](), 0
    read(paths[0])
    if wait:
        print("ready", flush=True)
        # Several at once are not at the same file: each begins elsewhere.
        first = int(sys.stdin.readline())
        paths = paths[first:] + paths[:first]
    start, spent = time.perf_counter(), time.process_time()
    for path in paths:
        try:
            read(path)
        except Exception:
            failed += 1
    elapsed, used = time.perf_counter() - start, time.process_time() - spent
    return {"elapsed": elapsed, "cpu": used, "files": len(paths), "failed": failed}


if __name__ == "__main__":
    print(json.dumps(timed(sys.argv[1], Path(sys.argv[2]), sys.argv[3:] == ["wait"])))
