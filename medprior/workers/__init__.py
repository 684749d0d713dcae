"""Worker processes: decoding processes with limits, their messages, and Dask clusters."""
