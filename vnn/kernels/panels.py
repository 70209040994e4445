"""Packed genotypes: from one layout to another, and counts, 2 bits a code throughout.

Codes are PLINK's: 00 two A1, 01 missing, 10 heterozygous, 11 no A1; code j of a row has bits 2 * (j % 4) of
byte j // 4. There are three layouts, all uint8:

- rows of variants, (n_variants, row_bytes): the body of a .bed file;
- rows of people, (n_people, row_bytes): the same, transposed;
- panels, (n_panels, n_variants, 16): 64 people each, 16 bytes a variant, the last panel filled up with 00.

Arrays come from numpy (read-only memory maps too) or torch, on the CPU. The last axis must be contiguous; the
others may have any strides. What is made anew is a torch tensor; a given `out` is written whole and returned.
Where a store is read again and again, give `out`: fresh memory takes longer to get than to fill.
Results do not depend on the number of threads.
"""

from __future__ import annotations

import operator
from ctypes import Structure, byref, c_int, c_int64, c_void_p
from typing import TypeVar, overload

import numpy as np
import torch
from torch import Tensor

from vnn._errors import KernelError
from vnn.kernels import cpu, panels_reference
from vnn.kernels.backend import active

Array = np.ndarray | Tensor
Out = TypeVar("Out", np.ndarray, Tensor)
PANEL = 64
_STRIP = 1024  # bytes of a row whose people are counted together
_NEAR = 1 << 19  # bytes that stay in a near cache


@overload
def transposed(rows: Array, n: int) -> Tensor: ...
@overload
def transposed(rows: Array, n: int, *, out: Out) -> Out: ...
def transposed(rows: Array, n: int, *, out: Array | None = None) -> Array:
    """Rows of people out of rows of variants, or the other way round.

    A big store is written block by block: `transposed(bed[a:b], n, out=store[:, a // 4 : b // 4])` with `a` a
    multiple of 4.

    Parameters
    ----------
    rows
        Packed rows.
    n
        Codes along each row: people in rows of variants, variants in rows of people.
    out
        Where to write, (n, at least n_rows / 4 bytes); bytes after the last code become 00.

    Returns
    -------
    The n rows.

    Raises
    ------
    KernelError
        If an array is not packed rows, `n` exceeds them, or `out` does not fit or overlaps `rows`.
    """
    source = _codes("rows", rows, 2)
    n = _count("n", n, 4 * source.shape[1], f"the {source.shape[1]:,} bytes of a row hold")
    n_bytes = -(-len(source) // 4)
    made = torch.empty(n, n_bytes, dtype=torch.uint8) if out is None else out
    target = _codes("out", made, 2)
    if len(target) != n or target.shape[1] < n_bytes:
        raise KernelError(f"`out` has shape {target.shape}; {n:,} rows of at least {n_bytes:,} bytes are needed.")
    _writable(target, "rows", source)
    if _compiled():
        arguments = _Transpose(
            _at(source), source.strides[0], len(source), n, _at(target), target.strides[0], target.shape[1]
        )
        _call("transpose", arguments, cpu.threads_for(target.size))
    else:
        panels_reference.transposed(source, n, target)
    return made


@overload
def panels_of(rows: Array, people: Array) -> Tensor: ...
@overload
def panels_of(rows: Array, people: Array, *, out: Out) -> Out: ...
def panels_of(rows: Array, people: Array, *, out: Array | None = None) -> Array:
    """Panels of any people out of rows of variants.

    Parameters
    ----------
    rows
        Rows of variants.
    people
        Who, as int64, in the order of the panels; any subset, repeats allowed.
    out
        Where to write, (n_panels, n_variants, 16).

    Returns
    -------
    Panels, (people / 64 rounded up, n_variants, 16).

    Raises
    ------
    KernelError
        If an array is not what is said above, or a person is not in the rows.
    """
    source = _codes("rows", rows, 2)
    who = _people(people, 4 * source.shape[1], f"`rows` of {source.shape[1]:,} bytes")
    made, target = _panels(out, who, len(source), source)
    if not _compiled():
        panels_reference.panels_of(source, who, target)
        return made
    used = np.zeros(-(-source.shape[1] // 16), dtype=bool)
    used[who >> 6] = True
    place = (np.cumsum(used) - 1)[who >> 6] * PANEL + (who & 63)
    edges = np.flatnonzero(np.diff(used, prepend=False, append=False))
    first, last = edges[0::2] * 16, np.minimum(edges[1::2] * 16, source.shape[1])
    length = last - first
    n_places = PANEL * int(used.sum())
    width = next((w for w in (64, 32) if w * n_places <= _NEAR), 16)
    n_threads = cpu.threads_for(target.size)
    scratch = torch.empty(n_threads, n_places * width, dtype=torch.uint8)
    arguments = _Deal(
        _at(source), source.strides[0], len(source), _at(first), _at(length), len(first), _at(place), len(place),
        scratch.data_ptr(), n_places * width, width, _at(target), target.strides[0], target.strides[1],
    )  # fmt: skip
    _call("deal", arguments, n_threads)
    return made


@overload
def gather_panels(person_rows: Array, people: Array, n_variants: int) -> Tensor: ...
@overload
def gather_panels(person_rows: Array, people: Array, n_variants: int, *, out: Out) -> Out: ...
def gather_panels(person_rows: Array, people: Array, n_variants: int, *, out: Array | None = None) -> Array:
    """Panels of any people out of rows of people.

    Parameters
    ----------
    person_rows
        Rows of people.
    people
        Who, as int64, in the order of the panels; any subset, repeats allowed.
    n_variants
        Variants along each row.
    out
        Where to write, (n_panels, n_variants, 16).

    Returns
    -------
    Panels, (people / 64 rounded up, n_variants, 16).

    Raises
    ------
    KernelError
        If an array is not what is said above, or a person has no row.
    """
    source = _codes("person_rows", person_rows, 2)
    n = _count("n_variants", n_variants, 4 * source.shape[1], f"the {source.shape[1]:,} bytes of a row hold")
    who = _people(people, len(source), "`person_rows`")
    made, target = _panels(out, who, n, source)
    if _compiled():
        arguments = _Gather(
            _at(source), source.strides[0], _at(who), len(who), n, _at(target), target.strides[0], target.strides[1]
        )
        _call("gather", arguments, cpu.threads_for(target.size))
    else:
        panels_reference.gather_panels(source, who, n, target)
    return made


def code_counts(codes: Array, n: int, *, keep: Array | None = None) -> Tensor:
    """How often each code occurs in every row, or for every variant of panels.

    Parameters
    ----------
    codes
        Packed rows, or panels.
    n
        Codes along each row, or people in the panels; what follows is not counted.
    keep
        Which of the n to count, bool; all unless given.

    Returns
    -------
    Counts of the codes 00, 01, 10 and 11, int64 (n_rows or n_variants, 4).

    Raises
    ------
    KernelError
        If an array is not what is said above, or `n` does not fit it.
    """
    source, n = _counted(codes, n)
    kept = np.ones(n, dtype=bool) if keep is None else _array("keep", keep, np.bool_, 1)
    if len(kept) != n:
        raise KernelError(f"`keep` has {len(kept):,} entries for n = {n:,}; one for each is needed.")
    if not _compiled():
        return torch.from_numpy(panels_reference.code_counts(_as_rows(source), kept))
    panels = source.ndim == 3
    n_bytes = 16 * len(source) if panels else -(-n // 4)
    mask = _mask(kept, n_bytes)
    made = torch.empty(source.shape[1] if panels else len(source), 4, dtype=torch.int64)
    n_threads, n_kept = cpu.threads_for(n_bytes * len(made)), int(kept.sum())
    if panels and source.strides[0] != 16:
        of_panels = _PanelCounts(
            _at(source), *source.strides[:2], *source.shape[:2], _at(mask), n_kept, made.data_ptr()
        )
        _call("panel_counts", of_panels, n_threads)
    else:
        of_rows = _RowCounts(
            _at(source), source.strides[panels], len(made), n_bytes, _at(mask), n_kept, made.data_ptr()
        )
        _call("row_counts", of_rows, n_threads)
    return made


def person_counts(codes: Array, n: int) -> Tensor:
    """How often each code occurs in every person, over the variants.

    Parameters
    ----------
    codes
        Rows of variants, or panels.
    n
        People.

    Returns
    -------
    Counts of the codes 00, 01, 10 and 11, int64 (n, 4).

    Raises
    ------
    KernelError
        If `codes` is not what is said above, or `n` does not fit it.
    """
    source, n = _counted(codes, n)
    if not _compiled():
        return torch.from_numpy(panels_reference.person_counts(_as_rows(source), n))
    panels = source.ndim == 3
    n_rows, row_stride = (source.shape[1], source.strides[1]) if panels else (len(source), source.strides[0])
    apart = panels and source.strides[0] != 16
    width, group_stride = (16, source.strides[0]) if apart else (_STRIP, _STRIP)
    n_bytes = 16 * len(source) if panels else -(-n // 4)
    n_groups, n_threads = -(-n_bytes // width), cpu.threads_for(n_rows * n_bytes)
    n_parts = n_threads if n_groups < 4 * n_threads else 1
    sums = torch.empty(n_parts, n_groups, 12 * width, dtype=torch.int64)
    made = torch.empty(n, 4, dtype=torch.int64)
    arguments = _PersonCounts(
        _at(source), group_stride, row_stride, n_rows, n_bytes, width, n, n_parts, sums.data_ptr(), made.data_ptr()
    )
    _call("person_counts", arguments, n_threads)
    return made


class _Gather(Structure):
    _fields_ = [
        ("rows", c_void_p), ("row_stride", c_int64), ("people", c_void_p), ("n_people", c_int64), ("n_codes", c_int64),
        ("out", c_void_p), ("panel_stride", c_int64), ("code_stride", c_int64),
    ]  # fmt: skip


class _Transpose(Structure):
    _fields_ = [
        ("rows", c_void_p), ("row_stride", c_int64), ("n_rows", c_int64), ("n_codes", c_int64),
        ("out", c_void_p), ("out_stride", c_int64), ("out_bytes", c_int64),
    ]  # fmt: skip


class _Deal(Structure):
    _fields_ = [
        ("rows", c_void_p), ("row_stride", c_int64), ("n_variants", c_int64),
        ("run_first", c_void_p), ("run_bytes", c_void_p), ("n_runs", c_int64),
        ("people", c_void_p), ("n_people", c_int64), ("scratch", c_void_p), ("scratch_size", c_int64), ("width", c_int64),
        ("out", c_void_p), ("panel_stride", c_int64), ("code_stride", c_int64),
    ]  # fmt: skip


class _RowCounts(Structure):
    _fields_ = [
        ("rows", c_void_p), ("row_stride", c_int64), ("n_rows", c_int64), ("n_bytes", c_int64),
        ("mask", c_void_p), ("n_kept", c_int64), ("out", c_void_p),
    ]  # fmt: skip


class _PanelCounts(Structure):
    _fields_ = [
        ("panels", c_void_p), ("panel_stride", c_int64), ("code_stride", c_int64), ("n_panels", c_int64),
        ("n_variants", c_int64), ("mask", c_void_p), ("n_kept", c_int64), ("out", c_void_p),
    ]  # fmt: skip


class _PersonCounts(Structure):
    _fields_ = [
        ("groups", c_void_p), ("group_stride", c_int64), ("row_stride", c_int64), ("n_rows", c_int64), ("n_bytes", c_int64),
        ("width", c_int64), ("n_people", c_int64), ("n_parts", c_int64), ("sums", c_void_p), ("out", c_void_p),
    ]  # fmt: skip


def _compiled() -> bool:
    return active(torch.device("cpu")) is cpu


def _call(name: str, arguments: Structure, n_threads: int) -> None:
    try:
        function = getattr(cpu.library(), f"vnn_{name}")
    except AttributeError as error:
        raise KernelError(f"the compiled kernels lack `vnn_{name}`: an older vnn built them. Reinstall vnn.") from error
    function(byref(arguments), c_int(n_threads))


def _at(array: np.ndarray) -> int:
    return array.ctypes.data


def _array(name: str, given: Array, dtype: type[np.generic], n_axes: int) -> np.ndarray:
    """`given` as numpy sees it, without a copy."""
    wanted = f"{np.dtype(dtype).name} of {n_axes} axes"
    if isinstance(given, Tensor):
        if given.device.type != "cpu" or given.layout != torch.strided:
            raise KernelError(f"`{name}` is a {given.layout} tensor on {given.device}; move it to the CPU, dense.")
    elif not isinstance(given, np.ndarray):
        raise KernelError(f"`{name}` is a {type(given).__name__}; an array or tensor, {wanted}, is needed.")
    if str(given.dtype).removeprefix("torch.") != np.dtype(dtype).name or given.ndim != n_axes:
        raise KernelError(f"`{name}` is {given.dtype} of shape {tuple(given.shape)}; {wanted} is needed.")
    return given.numpy() if isinstance(given, Tensor) else np.asarray(given)


def _codes(name: str, given: Array, n_axes: int) -> np.ndarray:
    array = _array(name, given, np.uint8, n_axes)
    if array.size and array.shape[-1] > 1 and array.strides[-1] != 1:
        raise KernelError(
            f"the bytes along the last axis of `{name}` lie {array.strides[-1]} apart; they must be contiguous: copy it."
        )
    return array


def _count(name: str, given: int, most: int, holder: str) -> int:
    try:
        n = operator.index(given)
    except TypeError:
        raise KernelError(f"`{name}` is {given!r}; a whole number is needed.") from None
    if not 0 <= n <= most:
        raise KernelError(f"`{name}` is {n:,}; {holder} 0 to {most:,}.")
    return n


def _people(given: Array, n_there: int, holder: str) -> np.ndarray:
    people = np.ascontiguousarray(_array("people", given, np.int64, 1))
    if len(people) and not 0 <= people.min() <= people.max() < n_there:
        raise KernelError(
            f"`people` reach from {people.min():,} to {people.max():,}; {holder} hold {n_there:,}, numbered from 0."
        )
    return people


def _panels(out: Array | None, people: np.ndarray, n_variants: int, source: np.ndarray) -> tuple[Array, np.ndarray]:
    """The panels to fill, as they came and as numpy sees them."""
    shape = (-(-len(people) // PANEL), n_variants, 16)
    made = torch.empty(shape, dtype=torch.uint8) if out is None else out
    target = _codes("out", made, 3)
    if target.shape != shape:
        raise KernelError(f"`out` has shape {target.shape}; {shape} is needed for {len(people):,} people.")
    _writable(target, "the rows", source)
    return made, target


def _writable(out: np.ndarray, name: str, source: np.ndarray) -> None:
    if not out.flags.writeable:
        raise KernelError("`out` is read-only; open the memory map with mode 'r+'.")
    reach = 1
    for stride, size in sorted((abs(stride), size) for stride, size in zip(out.strides, out.shape, strict=True)):
        if out.size and size > 1 and stride < reach:
            raise KernelError(f"parts of `out` share memory (strides {out.strides}); give it memory of its own.")
        reach += stride * (size - 1)
    if out.size and np.may_share_memory(out, source):
        raise KernelError(f"`out` overlaps {name} in memory; nothing here works in place: give it memory of its own.")


def _counted(codes: Array, n: int) -> tuple[np.ndarray, int]:
    if not isinstance(codes, np.ndarray | Tensor) or codes.ndim != 3:
        source = _codes("codes", codes, 2)
        return source, _count("n", n, 4 * source.shape[1], f"the {source.shape[1]:,} bytes of a row hold")
    source = _codes("codes", codes, 3)
    n = _count("n", n, PANEL * len(source), f"{len(source):,} panels hold")
    if source.shape[2] != 16 or n <= PANEL * (len(source) - 1):
        raise KernelError(
            f"`codes` has shape {source.shape}; {n:,} people need {-(-n // PANEL):,} panels of 16 bytes a variant."
        )
    return source, n


def _as_rows(codes: np.ndarray) -> np.ndarray:
    """Panels as rows of variants."""
    return codes.transpose(1, 0, 2).reshape(codes.shape[1], 16 * len(codes)) if codes.ndim == 3 else codes


def _mask(keep: np.ndarray, n_bytes: int) -> np.ndarray:
    """Both bits of every code to keep."""
    both = np.zeros(4 * n_bytes, dtype=np.uint8)
    both[: len(keep)][keep] = 3
    return both.reshape(-1, 4) @ np.array([1, 4, 16, 64], dtype=np.uint8)
