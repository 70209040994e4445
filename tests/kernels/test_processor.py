"""The portable kernels on a processor of another kind, aarch64 under emulation, give the bits they give here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "vnn" / "kernels" / "cpu"
FLAGS = ["-std=gnu++17", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi", "-fopenmp"]
SETS = {"portable": [], "emulated": ["-DVNN_PAIRED", "-DVNN_PANEL_WIDTH=64"]}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("aarch64-linux-gnu-g++") and shutil.which("qemu-aarch64")),
        reason="needs a cross compiler and an emulator (apt install g++-aarch64-linux-gnu qemu-user)",
    ),
    pytest.mark.skipif(not shutil.which("g++"), reason="needs g++"),
]


def program(compiler: str, folder: Path) -> Path:
    """The probe with the kernels of both portable sources, and a dispatcher that knows no others."""
    folder.mkdir()
    dispatch = folder / "dispatch.cpp"
    dispatch.write_text((SOURCE / "dispatch.cpp").read_text().replace("defined(__x86_64__)", "0"))
    objects = []
    for name, flags in SETS.items():
        for source in ("kernels", "companions", "packed"):
            objects.append(folder / f"{source}_{name}.o")
            command = [
                compiler,
                *FLAGS,
                *flags,
                f"-DVNN_SIMD={name}",
                "-c",
                SOURCE / f"{source}.cpp",
                "-o",
                objects[-1],
            ]
            subprocess.run(command, check=True)
    made = folder / "probe"
    sources = [Path(__file__).with_name("processor.cpp"), dispatch]
    subprocess.run([compiler, *FLAGS, "-static", f"-I{SOURCE}", *sources, *objects, "-o", made], check=True)
    return made


def test_aarch64_gives_the_same_bits(tmp_path: Path) -> None:
    here = program("g++", tmp_path / "here")
    there = program("aarch64-linux-gnu-g++", tmp_path / "there")
    printed = [
        subprocess.run([*command, *SETS], check=True, capture_output=True, text=True).stdout.split("\n")
        for command in ([here], ["qemu-aarch64", there])
    ]
    assert printed[0] == printed[1]
    assert len(set(printed[0][: len(SETS)])) == 1
