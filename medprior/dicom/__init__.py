"""One file in, one radiograph out: decode, window, orient, and judge before use."""
