"""The processor of this machine: its name and what it can do."""

import platform
import re
import subprocess

CPUINFO = "/proc/cpuinfo"
SETS = {"amx_bf16": "AMX", "avx512f": "AVX-512", "avx2": "AVX2"}  # by their flag, the newest first


def name() -> str:
    """For people: `Intel Xeon Platinum 8481C @ 2.70GHz, AMX`; at least the kind of machine where the system tells no more."""
    return described(_model() or platform.processor() or platform.machine() or "unknown processor", flags())


def described(model: str, flags: frozenset[str]) -> str:
    """A processor's name with its widest set of instructions, as many names, `AMD EPYC` say, tell little."""
    words = re.sub(r"\((?:R|TM)\)|\bCPU\b", " ", model, flags=re.IGNORECASE).split()
    found = next((title for flag, title in SETS.items() if flag in flags), None)
    return ", ".join([" ".join(words), *([found] if found else [])])


def flags() -> frozenset[str]:
    """What the processor can do, in Linux's words; nothing where the system does not tell."""
    return frozenset(_field("flags").split())


def _model() -> str:
    if platform.system() != "Darwin":
        return _field("model name")
    try:
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _field(key: str) -> str:
    """The first value of a field in Linux's description of the processors, empty without one."""
    try:
        with open(CPUINFO, encoding="utf-8", errors="replace") as lines:
            pairs = (line.partition(":") for line in lines)
            return next((value.strip() for found, _, value in pairs if found.strip() == key), "")
    except OSError:
        return ""
