"""Station 3, kernels: tensors and edges in, tensors out."""

from vnn.kernels.backend import active_name, backend, describe
from vnn.kernels.graph import Graph
from vnn.kernels.product import edge_product, sparse_product, transposed_product

__all__ = ["Graph", "active_name", "backend", "describe", "edge_product", "sparse_product", "transposed_product"]
