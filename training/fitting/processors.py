"""The processor of this machine: its name and its instruction sets."""

import platform
import re
import subprocess

CPUINFO = "/proc/cpuinfo"
SETS = {"amx_bf16": "AMX", "avx512f": "AVX-512", "avx2": "AVX2"}  # instruction sets by their flags, the newest first


def name() -> str:
    """The processor in words: `Intel Xeon Platinum 8481C @ 2.70GHz, AMX`; if it is unknown, the type of the machine."""
    return described(_model() or platform.processor() or platform.machine() or "unknown processor", flags())


def described(model: str, flags: frozenset[str]) -> str:
    """A processor's name and its newest instruction set, because many names, such as `AMD EPYC`, say little."""
    words = re.sub(r"\((?:R|TM)\)|\bCPU\b", " ", model, flags=re.IGNORECASE).split()
    newest = next((title for flag, title in SETS.items() if flag in flags), None)
    return ", ".join([" ".join(words), *([newest] if newest else [])])


def flags() -> frozenset[str]:
    """The processor's flags, as Linux names them; empty on other systems."""
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
    """The first value of a field in /proc/cpuinfo; empty if there is none."""
    try:
        with open(CPUINFO, encoding="utf-8", errors="replace") as lines:
            pairs = (line.partition(":") for line in lines)
            return next((value.strip() for name, _, value in pairs if name.strip() == key), "")
    except OSError:
        return ""
