"""What a figure was measured on: machine, versions, commit, and how much memory was in use."""

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

import eureka_audio

_STATUS, _CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # what the kernel reads as: forget the peak of resident memory


def fingerprint(device: torch.device | str = "cpu") -> dict[str, Any]:
    """The machine, the versions that matter to speed, and the commit.

    ``load_average`` is there because a figure from a machine that does other work says little.
    """
    device = torch.device(device)
    hardware: dict[str, Any] = {
        "cpu": cpu_name(),
        "num_cores": os.cpu_count(),
        "num_threads": torch.get_num_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "device": str(device),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        hardware |= {
            "gpu": properties.name,
            "gpu_memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
        }
    return {
        "hardware": hardware,
        "versions": {
            "eureka_audio": eureka_audio.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
        "commit": commit(),
    }


class PeakMemory:
    """The most memory in use since it was made: of the GPU, or resident on a CPU.

    Where the kernel cannot forget an earlier peak (it is not Linux), that peak is reported.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif _CLEAR_REFS.exists():
            try:
                _CLEAR_REFS.write_text(_RESET_PEAK)
            except OSError:  # a sandbox may forbid it; then the peak is that of the process
                return

    def num_bytes(self) -> int:
        """The peak so far."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        if _STATUS.exists():
            for line in _STATUS.read_text("ascii", "replace").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def cpu_name() -> str:
    """What the processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def commit() -> str | None:
    """The commit of the checkout this runs from; `None` when it is installed otherwise."""
    try:
        found = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
