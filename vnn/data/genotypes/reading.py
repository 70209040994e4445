"""Genotypes of any file: which reader a name calls for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import signature
from pathlib import Path
from typing import Any

from vnn._errors import GenotypeError, choose, culprits
from vnn.data.genotypes.bgen import open_bgen, read_bgen
from vnn.data.genotypes.dosages import SUFFIX, Dosages, open_dosages
from vnn.data.genotypes.gennet import open_gennet, read_gennet_folder
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.genotypes.pgen import open_pgen, read_pgen
from vnn.data.genotypes.plink import read_plink
from vnn.data.genotypes.streams import Stream, kept, there
from vnn.data.genotypes.vcf import open_vcf, read_vcf

FORMATS = {
    ".bed": "plink", ".bim": "plink", ".fam": "plink",
    ".pgen": "pgen", ".pvar": "pgen", ".pvar.zst": "pgen", ".psam": "pgen",
    ".vcf": "vcf", ".vcf.gz": "vcf", ".vcf.bgz": "vcf", ".bcf": "vcf",
    ".bgen": "bgen",
    SUFFIX: "dosages",
}  # fmt: skip
WHOLE = {
    "plink": (".bed", ".bim", ".fam"), "pgen": (".pgen", ".pvar", ".psam"), "dosages": (SUFFIX, ".bim", ".fam"),
}  # fmt: skip
BODIES = (".bed", ".pgen", ".vcf", ".vcf.gz", ".vcf.bgz", ".bcf", ".bgen", SUFFIX)
READERS: dict[str, Callable[..., Genotypes]] = {
    "plink": read_plink,
    "pgen": read_pgen,
    "vcf": read_vcf,
    "bgen": read_bgen,
}
STREAMS: dict[str, Callable[..., Stream]] = {
    "pgen": open_pgen,
    "vcf": open_vcf,
    "bgen": open_bgen,
    "gennet": open_gennet,
}


def read_genotypes(*paths: Path | str, **options: Any) -> Genotypes:
    """Genotypes of a file, or of several files of one format with the same people.

    Parameters
    ----------
    paths
        .bed, .pgen, .vcf, .vcf.gz, .bcf, .bgen, a folder of GenNet's, or a prefix ("cohort") beside which one of these stands.
    options
        Those of `read_plink`, `read_pgen`, `read_vcf`, `read_bgen` or `read_gennet_folder`.

    Raises
    ------
    GenotypeError
        If no reader fits the name, or several files fit a prefix.
    TypeError
        If the reader has no such option.
    """
    kind, files = _kind(paths)
    if kind == "dosages":
        raise GenotypeError(f"{files[0]} holds dosages; read them with `read_dosages`.")
    reader: Callable[..., Any] = read_gennet_folder if kind == "gennet" else READERS[kind]
    _known(options, reader, kind)
    if kind != "gennet":
        return reader(*files, **options)
    if options.get("outside") == "keep":
        raise GenotypeError('outside="keep" keeps all values as numbers: read them with `read_dosages`.')
    if len(files) > 1:
        raise GenotypeError(f"{len(files)} folders of GenNet's were given; one is read at a time.")
    return reader(files[0], **options).genotypes


def read_dosages(*paths: Path | str, **options: Any) -> Dosages:
    """Dosages of a file as they are, float16; slower and eight times larger than `read_genotypes`, which calls them.

    Parameters
    ----------
    paths
        As for `read_genotypes`, but for .bed, which holds no dosages; or what `to` wrote. Of a VCF the field DS is read unless
        another is given; of GenNet's folder all values are kept, those outside 0..2 too.
    options
        Those of the reader of the format, without `threshold`. `to` is the prefix of the files that are written block by block
        and mapped (`open_dosages` opens them again).

    Raises
    ------
    GenotypeError
        If no reader fits the name, or several files fit a prefix.
    TypeError
        If the reader has no such option.
    """
    kind, files = _kind(paths)
    if kind == "plink":
        raise GenotypeError(f"{files[0]} holds calls, no dosages; read them with `read_genotypes`.")
    if kind == "dosages":
        _known(options, open_dosages, kind)
        if len(files) > 1:
            raise GenotypeError(f"{len(files)} sets of dosages were given; one is opened at a time.")
        return open_dosages(files[0], **options)
    opened, whole = STREAMS[kind], ("to", "ids", "build")
    own = {name: value for name, value in options.items() if name not in whole}
    _known(own, opened, kind)
    default = {"vcf": {"field": "DS"}, "gennet": {"outside": "keep"}}.get(kind, {})
    streams = [opened(file, **{**default, **own}) for file in files]
    return kept(streams, **{name: value for name, value in options.items() if name in whole})


def is_genotypes(path: Path | str) -> bool:
    """Whether a name says that the file holds genotypes; a folder or a prefix does not say it."""
    name = Path(path).name
    return name == "genotype.h5" or any(name.endswith(suffix) for suffix in FORMATS)


def genotype_files(path: Path | str) -> dict[str, Path]:
    """The files that a name stands for, by what they are: of cohort.bed also cohort.bim and cohort.fam.

    Raises
    ------
    FileNotFoundError
        If one is not there.
    GenotypeError
        If no reader fits the name, or several files fit a prefix.
    """
    kind, (main,) = _kind((path,))
    if kind == "gennet":
        files = {name: main / name for name in ("genotype.h5", "subjects.csv", "topology.csv")}
    else:
        suffix = max((suffix for suffix in FORMATS if main.name.endswith(suffix)), key=len)
        beside = str(main).removesuffix(suffix)
        files = {part: Path(f"{beside}{part}") for part in WHOLE.get(kind, (suffix,))}
        if kind == "pgen" and not files[".pvar"].exists():
            files[".pvar"] = Path(f"{beside}.pvar.zst")
        if kind == "bgen" and (named := main.with_suffix(".sample")).exists():
            files[".sample"] = named
    return {role: there(file, f"{main} stands for {culprits(files.values())}.") for role, file in files.items()}


def _known(options: Iterable[str], reader: Callable[..., Any], kind: str) -> None:
    known = [name for name, of in signature(reader).parameters.items() if of.kind is of.KEYWORD_ONLY]
    try:
        for name in options:
            choose(f"an option of the reader of {kind}", name, known)
    except ValueError as error:
        raise TypeError(str(error)) from None


def _kind(paths: tuple[Path | str, ...]) -> tuple[str, list[Path]]:
    """The format of the files, and their paths."""
    if not paths:
        raise ValueError("at least one file of genotypes is needed.")
    found = [_one(Path(path)) for path in paths]
    kinds = sorted({kind for kind, _ in found})
    if len(kinds) > 1:
        raise GenotypeError(f"the files are of {len(kinds)} formats, {culprits(kinds)}; give those of one.")
    return kinds[0], [path for _, path in found]


def _one(path: Path) -> tuple[str, Path]:
    if path.is_dir():
        return "gennet", path
    if path.name == "genotype.h5":
        return "gennet", path.parent
    fitting = [suffix for suffix in FORMATS if path.name.endswith(suffix)]
    if fitting:
        return FORMATS[max(fitting, key=len)], path
    beside = [suffix for suffix in BODIES if Path(f"{path}{suffix}").exists()]
    if len(beside) == 1:
        return FORMATS[beside[0]], Path(f"{path}{beside[0]}")
    if beside:
        raise GenotypeError(f"{path} is a prefix of several files: {culprits(beside, 9)}. Name one with its suffix.")
    raise GenotypeError(
        f"{path} is no file that a reader knows: neither a folder of GenNet's, nor a name or a prefix of {culprits(BODIES, 9)}."
    )
