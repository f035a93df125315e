"""Let glibc keep freed memory for the next step of a training, against TensorFlow's data pipeline.

The operation behind Keras's fit on a PyDataset (GeneratorDataset, TensorFlow 2.21) sets glibc's M_TRIM_THRESHOLD to
128 KB, and glibc then no longer adapts M_MMAP_THRESHOLD either: every tensor above 128 KB is mapped, touched page by
page and unmapped again at each step: a step of YOLOv8-xs has 822,000 page faults in place of 2,400, and takes twice the
processor time (benchmarks/page_faults.py). jemalloc, where it is preloaded (allocator.py), has other settings, which
this does not change.
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_TRIM = 2**31 - 1  # bytes; mallopt takes an int
LARGEST_MMAP = 32 * 2**20  # bytes; glibc refuses more on 64 bits


def keep_freed_memory() -> None:
    """Set both thresholds as high as glibc takes them; does nothing with another C library."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, LARGEST_TRIM)
        mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP)
