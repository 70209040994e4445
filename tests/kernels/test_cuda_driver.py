"""From source to launch without a GPU: NVRTC compiles, a stand-in for the driver loads and runs the shim."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from vnn._errors import KernelError
from vnn.kernels import Graph, cuda, reference
from vnn.kernels.cuda import catalogue, device, driver, nvrtc, shim

STAND_IN = r"""
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
static int depth;
static int fails(const char* name) { const char* f = getenv("FAIL"); return f && !strcmp(f, name) ? 700 : 0; }
extern "C" {
char last[4096];
int cuInit(unsigned) { return fails("cuInit"); }
int cuDeviceGet(int* d, int i) { *d = i; return 0; }
int cuDevicePrimaryCtxRetain(void** c, int) { *c = &depth; return 0; }
int cuCtxPushCurrent_v2(void* c) { ++depth; return c == &depth ? 0 : 201; }
int cuCtxPopCurrent_v2(void**) { --depth; return 0; }
int cuModuleLoadData(void** m, const void* code) {
  *m = dlopen(getenv("SHIM"), RTLD_NOW);
  return memcmp(code, "\x7f" "ELF", 4) ? 200 : fails("cuModuleLoadData");
}
int cuModuleGetFunction(void** f, void* m, const char* name) { *f = dlsym(m, name); return *f ? 0 : 500; }
int cuFuncLoad(void*) { return 0; }
int cuFuncSetAttribute(void*, int what, int value) { sprintf(last, "attribute %d is %d", what, value); return 0; }
int cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void* stream, void** arguments, void** extra) {
  if (depth != 1 || gy * gz * by * bz != 1 || extra || stream != (void*)42) return 1;
  if (int error = fails("cuLaunchKernel")) return error;
  ((void (*)(void*, unsigned, unsigned, unsigned))f)(arguments[0], gx, bx, shared);
  return 0;
}
int cuGetErrorName(int, const char** text) { *text = "CUDA_ERROR_ILLEGAL_ADDRESS"; return 0; }
int cuGetErrorString(int, const char** text) { *text = "an illegal memory access was encountered"; return 0; }
}
"""
ARCHITECTURES = ["sm_80", "sm_90", "sm_100"]


@pytest.fixture
def compiler() -> None:
    try:
        nvrtc.library()
    except KernelError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VNN_CUDA_CACHE", str(tmp_path / "cubins"))
    return tmp_path / "cubins"


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("g++") is None:
        pytest.skip("needs g++ to compile the kernels for the CPU")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.cpp").write_text(STAND_IN)
    subprocess.run(["g++", "-shared", "-fPIC", str(folder / "driver.cpp"), "-o", str(folder / "driver.so")], check=True)
    return shim.build(folder), folder / "driver.so"


class Stream:
    cuda_stream = 42


@pytest.fixture
def gpu(compiler: None, libraries: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[driver.Gpu]:
    monkeypatch.setenv("SHIM", str(libraries[0]))
    monkeypatch.setattr(driver, "LIBRARY", str(libraries[1]))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index=None: (9, 0))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index=None: Stream)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    driver.library.cache_clear()
    simulated = driver.Gpu(0)
    with device.simulated(simulated):
        yield simulated
    driver.library.cache_clear()


def run() -> None:
    wiring = Graph(np.array([[0, 0], [2, 0], [1, 1]]), 3, 2).wiring
    x, weight = torch.arange(24.0).view(3, 1, 8), torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    mine = cuda.product(x, weight, None, None, wiring, transposed=False, shared=False)
    assert torch.equal(mine, reference.product(x, weight, None, None, wiring, transposed=False, shared=False))


def test_the_whole_chain(gpu: driver.Gpu, own_cache: Path) -> None:
    run()
    kept = list(own_cache.iterdir())
    assert len(kept) == 1
    assert kept[0].read_bytes()[:4] == b"\x7fELF"
    run()
    assert len(list(own_cache.iterdir())) == 1


def test_what_an_earlier_process_compiled_is_used_unless_it_is_damaged(gpu: driver.Gpu, own_cache: Path) -> None:
    run()
    (kept,) = own_cache.iterdir()
    kept.write_bytes(b"torn")
    fresh = driver.Gpu(0)
    with device.simulated(fresh):
        run()
    assert not kept.exists()


def test_a_cache_that_cannot_be_written_costs_nothing_else(gpu: driver.Gpu, own_cache: Path) -> None:
    own_cache.write_text("a file where the folder should be")
    run()


def test_large_shared_memory_is_asked_for(gpu: driver.Gpu) -> None:
    wanted = catalogue.kernel("dropout", "float")
    gpu.launch(wanted, wanted.structure(), 0, 32, 60_000)
    assert ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(driver.library(), "last"))) == b"attribute 8 is 60000"


def test_a_failed_launch_says_what_and_why(gpu: driver.Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setenv("FAIL", "cuLaunchKernel")
    said = (
        r"cuLaunchKernel of product<float, 4, 1, 4, false> with 1 x 256 threads.*CUDA_ERROR_ILLEGAL_ADDRESS .an illegal"
    )
    with pytest.raises(KernelError, match=said):
        run()


def test_a_failed_load_says_why(gpu: driver.Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "cuModuleLoadData")
    with pytest.raises(KernelError, match="cuModuleLoadData for sm_90 failed: CUDA_ERROR"):
        run()


def test_a_first_use_during_capture_is_refused_until_warm(gpu: driver.Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(KernelError, match="run the step once before"):
        run()
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    run()
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    run()


def test_one_kernel_of_each_template_compiles(compiler: None) -> None:
    one = {kernel.call.partition("<")[0]: kernel for kernel in reversed(catalogue.every_kernel())}
    assert nvrtc.compiled(tuple(one.values()), "sm_90")[:4] == b"\x7fELF"


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_kernel_compiles(compiler: None, arch: str) -> None:
    assert int(arch[3:]) in nvrtc.architectures()
    assert nvrtc.compiled(catalogue.every_kernel(), arch)[:4] == b"\x7fELF"


def test_a_broken_source_shows_the_compilers_words(compiler: None) -> None:
    files = catalogue.source()
    files = files | {"product.h": files["product.h"].replace("typedef Real<S> A;", "typedef Reel<S> A;", 1)}
    kernel = catalogue.kernel("product", "float", 4, 1, 1, False)
    with pytest.raises(
        KernelError, match=r"does not compile product<float, 4, 1, 1, false> for sm_90.*\n.*product.h.*Reel"
    ):
        nvrtc.compiled((kernel,), "sm_90", files)


def test_no_header_of_the_system_is_included() -> None:
    for name, text in catalogue.source().items():
        if name != "shim.h":
            assert "#include <" not in text, name


@pytest.mark.parametrize(
    ("capability", "arch"), [((8, 0), "sm_80"), ((8, 6), "sm_86"), ((9, 0), "sm_90"), ((10, 0), "sm_100")]
)
def test_the_architecture_is_one_the_gpu_runs(compiler: None, capability: tuple[int, int], arch: str) -> None:
    assert nvrtc.architecture(*capability) == arch


def test_a_gpu_the_compiler_does_not_know_is_named(compiler: None) -> None:
    with pytest.raises(KernelError, match=r"compute capability 2\.0; NVRTC .* compiles for"):
        nvrtc.architecture(2, 0)


def test_without_a_driver_the_cause_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    driver.library.cache_clear()
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-that-is-not-here.so")
    with pytest.raises(KernelError, match="the NVIDIA driver cannot be loaded: libcuda-that-is-not-here"):
        driver.library()
    driver.library.cache_clear()


def test_without_nvrtc_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nvrtc.library.cache_clear()
    monkeypatch.setattr(nvrtc, "_candidates", lambda: iter(["libnvrtc-that-is-not-here.so"]))
    with pytest.raises(KernelError, match=r"libnvrtc is not here .*pip install nvidia-cuda-nvrtc"):
        nvrtc.library()
    nvrtc.library.cache_clear()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_backend_says_so() -> None:
    assert not cuda.available()
    assert "torch" in cuda.why_not() or "GPU" in cuda.why_not()
    assert cuda.describe() == cuda.why_not()
    with pytest.raises(KernelError, match="there is no GPU to compile the kernels for"):
        cuda.warm()
