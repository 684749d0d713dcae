"""Every installed decoder works under the confinement, also the one that reads files only."""

import time

import numpy as np
import pytest
from pydicom.encaps import generate_frames

from medprior.dicom.decoding.decoders import DECODER_PLUGINS
from medprior.dicom.decoding.samples import compress_dataset, create_sample_dataset, create_sample_picture
from medprior.workers.messages import receive_message, send_message
from medprior.workers.sandbox import PRELOADED_LIBRARIES, ProcessLimits, SandboxedProcess
from tests.dicom.confined_decoders import build_named_decoder

PICTURE = create_sample_picture()
LOSSLESS = [
    (syntax, plugin)
    for syntax, plugins in DECODER_PLUGINS.items()
    for plugin in plugins
    if syntax.rsplit(".", 1)[1] in {"5", "70", "80", "90", "201", "202"}
]


@pytest.fixture(scope="module", params=[(), PRELOADED_LIBRARIES], ids=["nothing preloaded", "libraries preloaded"])
def process(request):
    confined = SandboxedProcess(
        build_named_decoder, (), ProcessLimits(), ("tests.dicom.confined_decoders", *request.param)
    )
    receive_message(confined.channel, time.monotonic() + 60)
    yield confined
    confined.end()


@pytest.mark.parametrize(("syntax", "plugin"), LOSSLESS)
def test_every_decoder_works_confined(process, syntax, plugin):
    try:
        dataset = compress_dataset(create_sample_dataset(PICTURE), syntax)
    except Exception:
        pytest.skip("no encoder of this syntax here")
    frame = np.frombuffer(next(generate_frames(dataset.PixelData, number_of_frames=1)), np.uint8)
    facts = {"plugin": plugin, "syntax": syntax, "shape": PICTURE.shape}
    send_message(process.channel, facts, [frame], time.monotonic() + 30)
    answer, arrays = receive_message(process.channel, time.monotonic() + 30)
    assert answer == {}
    np.testing.assert_array_equal(arrays[0], PICTURE)
