"""Handlers that decode in a confined process; imported there by name."""

import os

from medprior.dicom.decoding.decoders import PixelLayout, decode_with_plugin, open_scratch_file


def build_named_decoder():
    """Decode the first array, the bytes of a frame, with the plugin and syntax that the message names."""
    open_scratch_file(os.getpid())

    def answer(facts, arrays):
        layout = PixelLayout(*facts["shape"], 16, 16, 15, False)
        try:
            array = decode_with_plugin(facts["plugin"], arrays[0].tobytes(), facts["syntax"], layout)
        except Exception as error:
            return {"error": repr(error)}, []
        return {}, [array.astype("<u2")]

    return answer
