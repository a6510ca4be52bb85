"""Sets the C library's allocator to keep the memory that training frees."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Names of the parameters in glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Makes this process keep freed memory for its next allocations instead of handing it back.

    Every step of training allocates the same large tensors as the one before. By default glibc takes each
    from the system and returns it, and the system zeroes its pages when they are first touched, which
    costs a tenth of a step on a CPU and more with fast products (docs/benchmarks.md). The price: the
    process never shrinks below its peak.

    Returns:
        Whether the setting took effect, which it does with glibc only (most of Linux).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))
