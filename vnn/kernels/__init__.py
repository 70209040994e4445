"""Station 3, kernels: tensors and edges in, tensors out."""

from vnn.kernels.backend import active_name, backend, describe
from vnn.kernels.graph import Graph
from vnn.kernels.packed import Packed
from vnn.kernels.packed_product import packed_product
from vnn.kernels.people import PackedPeople
from vnn.kernels.product import edge_product, sparse_product, transposed_product

__all__ = [
    "Graph",
    "Packed",
    "PackedPeople",
    "active_name",
    "backend",
    "describe",
    "edge_product",
    "packed_product",
    "sparse_product",
    "transposed_product",
]
