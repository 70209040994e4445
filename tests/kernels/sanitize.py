"""Build the CPU library with AddressSanitizer and UndefinedBehaviorSanitizer, and run every variant on it.

`python -m tests.kernels.sanitize FOLDER` builds there and runs itself again with the sanitizers' runtime loaded first;
it ends with 0 when they found nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "vnn" / "kernels" / "cpu"
PREPARED = ("test_companions.py", "test_calls.py")
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1"


def build(folder: Path) -> Path:
    """The library, built in `folder`."""
    subprocess.run(
        ["cmake", "-S", SOURCES, "-B", folder, "-DCMAKE_BUILD_TYPE=Debug", "-DVNN_OPTIMISE=-O1", f"-DCMAKE_CXX_FLAGS={FLAGS}"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    subprocess.run(["cmake", "--build", str(folder), "--parallel", "2"], check=True, stdout=subprocess.DEVNULL)
    return folder / "libvnn_cpu.so"


def runtime() -> str:
    """The shared libraries to load first: AddressSanitizer, and what throws the exceptions it watches."""
    names = ("libasan.so", "libstdc++.so")
    found = [
        subprocess.run(["g++", f"-print-file-name={name}"], check=True, capture_output=True, text=True)
        for name in names
    ]
    return " ".join(str(Path(one.stdout.strip()).resolve()) for one in found)


def run(library: Path) -> None:
    """Every variant, instruction set and dtype, the calls of prepared programs, and the fuzzed arguments."""
    import pytest
    import torch

    from vnn.kernels import cpu

    cpu.library_path = lambda: library
    assert cpu.library()
    if failed := pytest.main(
        ["-q", "--assert=plain", "-p", "no:cacheprovider", *(str(HERE / name) for name in PREPARED)]
    ):
        sys.exit(failed)
    from tests.kernels import fuzz, test_packed, test_variants
    from tests.kernels.dense import instruction_sets, threads

    real = (torch.float64, torch.float32)
    for simd in instruction_sets():
        for count, batches in ((2, (0, 1, 37, 131)), (1, (37,))):
            with threads(count):
                for name in test_variants.WIRINGS:
                    for dtype in (*real, torch.bfloat16):
                        for batch in batches:
                            for shared in (False, True):
                                test_variants.compare(test_variants.wiring(name), simd, dtype, 3, shared, batch)
        with threads(2):
            for name in set(test_packed.WIRINGS) - {"long"}:
                for dtype in real:
                    for n in (3,) if name.startswith("rewired") else (1, 2, 4):
                        for batch, layout in ((0, "plain"), (65, "by variant"), (300, "sliced")):
                            test_packed.compare(test_packed.wiring(name), simd, dtype, n, batch, layout)
    fuzz.main(150)
    print("clean")


def main(folder: Path) -> int:
    """Build and run; the exit status of the run."""
    library = build(folder)
    environment = os.environ | {
        "LD_PRELOAD": runtime(),
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "OMP_NUM_THREADS": "2",
        "VNN_SANITIZED": str(library),
    }
    return subprocess.run([sys.executable, "-m", "tests.kernels.sanitize"], env=environment).returncode


if __name__ == "__main__":
    if held := os.environ.get("VNN_SANITIZED"):
        run(Path(held))
    else:
        sys.exit(main(Path(sys.argv[1])))
