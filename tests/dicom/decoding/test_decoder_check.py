"""Every decoder on every transfer syntax that can be written here."""

from pydicom.encaps import generate_frames

from medprior.dicom.decoding.decoder_check import time_decoder, try_decoders, try_uncompressed
from medprior.dicom.decoding.decoders import DECODER_PLUGINS, UNCOMPRESSED_SYNTAXES, PixelLayout
from medprior.dicom.decoding.samples import compress_dataset, create_sample_dataset, create_sample_picture


def test_every_syntax_that_can_be_written_here_is_read_right():
    trials = try_decoders(96)
    assert {trial.syntax for trial in trials} == UNCOMPRESSED_SYNTAXES | set(DECODER_PLUGINS)
    assert not [trial for trial in trials if trial.state in {"wrong", "failed"}]
    tried = {trial.name for trial in trials if trial.state == "right"}
    assert len(tried) == len(UNCOMPRESSED_SYNTAXES) + len(DECODER_PLUGINS) - 3
    untried = {trial.name for trial in trials} - tried
    assert all("High-Throughput" in name for name in untried)


def test_a_native_file_is_timed():
    assert all(try_uncompressed(syntax, 96).milliseconds > 0 for syntax in UNCOMPRESSED_SYNTAXES)


def test_a_decoder_that_gives_another_picture_is_wrong_and_one_that_fails_has_no_time():
    picture = create_sample_picture(32, 32)
    dataset = compress_dataset(create_sample_dataset(picture), "1.2.840.10008.1.2.5")
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    layout = PixelLayout(32, 32, 16, 12, 11, False)
    states = {}
    for name, plugin, shown, tolerance in (
        ("same", "pydicom", picture, 0),
        ("within the tolerance", "pydicom", picture ^ 1, 1),
        ("beyond the tolerance", "pydicom", picture ^ 1, 0),
        ("no such decoder", "nonesuch", picture, 0),
    ):
        trial = time_decoder("1.2.840.10008.1.2.5", "RLE", plugin, frame, layout, shown, tolerance)
        states[name] = trial.state, trial.milliseconds > 0
    assert states == {
        "same": ("right", True),
        "within the tolerance": ("right", True),
        "beyond the tolerance": ("wrong", True),
        "no such decoder": ("failed", False),
    }
