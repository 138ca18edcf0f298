"""Where tasks run: inline, in threads, in worker processes, on Dask, or in whatever executor there is."""
