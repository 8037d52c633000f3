"""Benchmarks: our rates beside those of other task queues, in one interleaved run on one machine."""
