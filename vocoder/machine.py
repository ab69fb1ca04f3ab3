"""The machine that this runs on: its processor's name, cores and cache."""

from __future__ import annotations

import os
import platform


def cpu_name() -> str:
    """Give the name of the processor, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def physical_cores() -> int:
    """Count the cores that this process may use; two hardware threads of one core count once."""
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # macOS: Apple's processors have one thread per core
        return os.cpu_count() or 1
    cores = set()
    for cpu in allowed:
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", encoding="ascii") as file:
                cores.add(file.read().strip())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))


def second_level_bytes() -> int:
    """Size of the second-level cache; where the system does not tell, one that is no larger anywhere."""
    try:
        with open("/sys/devices/system/cpu/cpu0/cache/index2/size", encoding="ascii") as file:
            return 1024 * int(file.read().strip().removesuffix("K"))
    except (OSError, ValueError):
        return 256 * 1024
