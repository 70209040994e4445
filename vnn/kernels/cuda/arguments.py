"""What the kernels are given: the structures of `arguments.h`, field by field."""

from __future__ import annotations

from ctypes import Structure, c_double, c_int64, c_void_p


def _structure(name: str, **kinds: str) -> type[Structure]:
    """A structure whose fields are named by kind: "sizes" are int64, "reals" double, "at..." addresses."""
    of = {"sizes": c_int64, "reals": c_double}
    fields = [(field, of.get(kind.split("_")[0], c_void_p)) for kind, names in kinds.items() for field in names.split()]
    return type(name, (Structure,), {"_fields_": fields})


class Edges(Structure):
    """Edges cut into items, by the rows or nodes they lead to."""

    _fields_ = [
        ("items", c_void_p), ("owners", c_void_p), ("n_items", c_int64), ("origin", c_void_p), ("edge", c_void_p),
        ("per_replicate", c_int64), ("units", c_void_p), ("from_units", c_void_p), ("block", c_void_p),
    ]  # fmt: skip


class Packed(Structure):
    """Codes of the batch and what they mean."""

    _fields_ = [
        ("codes", c_void_p), ("n_panels", c_int64), ("panel_stride", c_int64), ("variant_stride", c_int64),
        ("panels", c_void_p), ("n_batch_panels", c_int64), ("batch", c_int64), ("codebook", c_void_p),
    ]  # fmt: skip


class Product(Structure):
    _fields_ = [
        ("edges", Edges), ("transposed", c_int64), ("x_replicates", c_int64), ("y_replicates", c_int64),
        ("replicates", c_int64), ("batch", c_int64), ("x", c_void_p), ("weight", c_void_p), ("bias", c_void_p),
        ("addend", c_void_p), ("y", c_void_p), ("scratch", c_void_p),
    ]  # fmt: skip


class PackedProduct(Structure):
    _fields_ = [
        ("packed", Packed), ("edges", Edges), ("replicates", c_int64), ("max_columns", c_int64),
        ("weight", c_void_p), ("bias", c_void_p), ("addend", c_void_p), ("y", c_void_p), ("scratch", c_void_p),
    ]  # fmt: skip


class PackedEdgeProduct(Structure):
    _fields_ = [
        ("packed", Packed), ("edges", Edges), ("replicates", c_int64), ("max_columns", c_int64),
        ("g", c_void_p), ("weight", c_void_p), ("out", c_void_p),
    ]  # fmt: skip


Finish = _structure(
    "Finish", at="rows", sizes="n_rows replicates scratch_replicates batch", at_values="bias addend scratch y"
)
EdgeProduct = _structure(
    "EdgeProduct", sizes="n_weights replicates x_replicates batch", at="target edge origin",
    sizes_more="per_replicate", at_more="from_units block g x weight",
)  # fmt: skip
RowSum = _structure("RowSum", sizes="rows batch", at="x y")
Dropout = _structure("Dropout", sizes="rows replicates batch", at="keys node threshold scale samples x y")
Adam = _structure(
    "Adam", sizes="rows replicates", reals="beta1 beta2 eps", sizes_more="decoupled",
    at="lr decay correction1 correction2 active grad parameter mean square",
)  # fmt: skip
Gather = _structure("Gather", sizes="n_nodes per_replicate replicate accumulate", at="ptr edge by_edge out")
Fragment = _structure("Fragment", at="a b c")

STRUCTURES = {
    structure.__name__: structure
    for structure in (
        Product,
        Finish,
        EdgeProduct,
        RowSum,
        Dropout,
        Adam,
        PackedProduct,
        PackedEdgeProduct,
        Gather,
        Fragment,
    )
}
