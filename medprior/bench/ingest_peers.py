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

ReadLoop = Callable[[Path], object]


def build_pydicom_loop() -> ReadLoop:
    """What people write: `pixel_array`, modality, VOI."""
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    def read(path: Path) -> object:
        """One file."""
        dataset = pydicom.dcmread(path)
        return apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)

    return read


def build_monai_loop() -> ReadLoop:
    """MONAI's `LoadImage` with its pydicom reader."""
    from monai.transforms.io.array import LoadImage

    load: Any = LoadImage(reader="PydicomReader", image_only=True)
    return lambda path: load(str(path))


def build_sitk_loop() -> ReadLoop:
    """SimpleITK's `ReadImage`, then the array."""
    import SimpleITK

    def read(path: Path) -> object:
        """One file."""
        return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))

    return read


def build_decode_loop() -> ReadLoop:
    """The codec alone, reading and parsing included: the part that nobody can do without.

    Memory is kept as our decoding processes keep it, or the bound would be too low.
    """
    from medprior.dicom import Policy
    from medprior.dicom.decoding.pixel_bytes import read_pixel_bytes
    from medprior.dicom.decoding.stored_values import read_pixel_layout, read_stored_cells
    from medprior.dicom.file_opening import open_regular_file
    from medprior.dicom.parsing import parse_header
    from medprior.workers.sandbox import retain_freed_memory

    policy = Policy()
    retain_freed_memory()

    def read(path: Path) -> object:
        """One file."""
        with open_regular_file(path, policy) as (stream, size):
            found = parse_header(stream, size, policy)
            layout = read_pixel_layout(found.header, policy)
            return read_stored_cells(read_pixel_bytes(found), found.syntax, layout, found.header.little_endian)

    return read


def build_radiograph_loop() -> ReadLoop:
    """Our own reading, display-ready, without limits, reduction or store."""
    from medprior.dicom import read_radiograph
    from medprior.workers.sandbox import retain_freed_memory

    retain_freed_memory()
    return lambda path: read_radiograph(path)


LOOP_FACTORIES: dict[str, Callable[[], ReadLoop]] = {
    "pydicom": build_pydicom_loop,
    "monai": build_monai_loop,
    "simpleitk": build_sitk_loop,
    "decode": build_decode_loop,
    "radiograph": build_radiograph_loop,
}


def time_loop(name: str, folder: Path, wait: bool = False) -> dict[str, float]:
    """Elapsed and processor seconds of one loop, and how many files it could not read."""
    paths = sorted(folder.rglob("*.dcm"))
    read, failed = LOOP_FACTORIES[name](), 0
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
    print(json.dumps(time_loop(sys.argv[1], Path(sys.argv[2]), sys.argv[3:] == ["wait"])))
