"""Which kernels there are: every template of `kernels.cu` with the parameters it is used with."""

from __future__ import annotations

import re
from ctypes import Structure
from functools import cache
from importlib import resources
from itertools import product as every
from typing import NamedTuple

import torch

from vnn.kernels.cuda.arguments import STRUCTURES

STORAGE = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "Bf16", torch.float16: "Half"}
REAL = {torch.float32: "float", torch.float64: "double"}
_TAKES = {
    "product": "Product", "finish": "Finish", "edge_product": "EdgeProduct", "row_sum": "RowSum", "dropout": "Dropout",
    "adam": "Adam", "packed_product": "PackedProduct", "packed_edge_product": "PackedEdgeProduct",
    "packed_codebook": "PackedEdgeProduct", "gather": "Gather",
    "tensor_product": "PackedProduct", "tensor_edge_product": "PackedEdgeProduct", "fragment": "Fragment",
}  # fmt: skip


class Kernel(NamedTuple):
    """One template with its parameters: `Kernel("product<float, 4, 1, 1, false>")`."""

    call: str

    @property
    def symbol(self) -> str:
        """Its name in the compiled code."""
        return "vnn_" + re.sub(r"\W+", "_", self.call).strip("_")

    @property
    def structure(self) -> type[Structure]:
        """The structure of its arguments."""
        return STRUCTURES[_TAKES[self.call.partition("<")[0]]]

    @property
    def line(self) -> str:
        """The line of source that has it compiled."""
        return f"VNN_KERNEL({self.symbol}, {self.structure.__name__}, {self.call})"


@cache
def kernel(template: str, *parameters: object) -> Kernel:
    """The kernel `template<parameters>`."""
    words = [str(p).lower() if isinstance(p, bool) else str(p) for p in parameters]
    return Kernel(f"{template}<{', '.join(words)}>")


def vector(dtype: torch.dtype) -> int:
    """Values of 16 bytes."""
    return 16 // dtype.itemsize


def packs(dtype: torch.dtype) -> int:
    """Vectors one thread takes where the batch is long."""
    return 2 if dtype.itemsize == 2 else 4


@cache
def every_kernel() -> tuple[Kernel, ...]:
    """All kernels the backend may ask for."""
    found = []
    for dtype, name in STORAGE.items():
        wide = vector(dtype)
        found += [
            kernel("product", name, wide, *shape) for shape in ((1, 1, False), (packs(dtype), 1, False), (1, 4, False))
        ]
        found += [kernel("product", name, v, 1, 1, True) for v in (wide, 1)]
        found += [kernel(template, name, v) for template in ("edge_product", "row_sum") for v in (wide, 1)]
        found += [kernel("finish", name), kernel("dropout", name)]
    for name in REAL.values():
        found += [kernel("packed_product", name, *shape) for shape in every((1, 2, 4), (1, 4))]
        found += [kernel("packed_edge_product", name, tile) for tile in (1, 4)]
        found += [kernel(template, name) for template in ("adam", "packed_codebook", "gather")]
    found += [kernel(template, tiles) for template in ("tensor_product", "tensor_edge_product") for tiles in (2, 4)]
    found += [kernel("fragment", twin) for twin in (False, True)]
    return tuple(found)


def needs_tensor_cores(kernel: Kernel) -> bool:
    """Whether it takes a GPU of compute capability 8.0 or more."""
    return kernel.call.startswith(("tensor_", "fragment"))


@cache
def source() -> dict[str, str]:
    """The text of the kernels by file name: `kernels.cu` and what it includes."""
    folder = resources.files("vnn") / "kernels" / "cuda"
    return {file.name: file.read_text() for file in folder.iterdir() if file.name.endswith((".cu", ".h"))}
