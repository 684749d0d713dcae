from medprior.dicom.decoding.decoder_check import try_decoders, try_uncompressed
from medprior.dicom.decoding.decoders import DECODER_PLUGINS, UNCOMPRESSED_SYNTAXES


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
