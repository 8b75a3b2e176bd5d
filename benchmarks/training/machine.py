"""The machine that figures are of."""

import os

from training.fitting import processors

SHOWN = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # sets of vector instructions, as Linux names them


def described() -> str:
    """`Intel Xeon Processor, AMX; avx2 avx512f avx512_bf16 amx_bf16; 2 threads`."""
    flags = processors.flags()
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{processors.name()}; {' '.join(name for name in SHOWN if name in flags) or 'unknown'}; {threads} threads"


def without_bfloat16() -> dict[str, str]:
    """What in the environment makes oneDNN, MKL, PyTorch and XLA compute as on a processor with AVX2 alone."""
    return {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }
