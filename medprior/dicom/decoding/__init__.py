"""From a file's pixel data to stored values: compressed frames, native bytes, decoder checks."""
