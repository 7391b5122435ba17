"""What a process does before it trains anything."""

from __future__ import annotations

import ctypes

import torch

from hpo.workers.torch_private import leave_out_compiler

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def prepare_worker() -> None:
    """Prepare this process for training.

    torch uses one thread: workers share the cores, and the bits of a result depend on the number of threads. glibc is
    told to keep large blocks. Otherwise every step of a convolution gives them back to the kernel, which fills them
    with zeros before it hands them out again. torch's compiler, which takes a second to import, waits for its use.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    torch.set_num_threads(1)
    leave_out_compiler()
