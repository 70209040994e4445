"""Regions of long-range linkage disequilibrium, the MHC among them, in both builds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vnn._errors import choose
from vnn.data.genotypes.builds import plain
from vnn.data.genotypes.named import BUILDS

MHC = "MHC"
_REGIONS = [
    ("1p33-p32", "1", (48_227_413, 52_227_412), (47_761_741, 51_761_740)),
    ("2p11-q11", "2", (86_146_489, 101_133_568), (85_919_366, 100_517_106)),
    ("2q21, LCT", "2", (134_783_530, 138_283_530), (134_025_960, 137_525_960)),
    ("2q32", "2", (183_291_755, 190_291_755), (182_427_028, 189_427_029)),
    ("3p21", "3", (47_524_996, 50_024_996), (47_483_506, 49_987_563)),
    ("3p12", "3", (83_417_310, 86_917_310), (83_368_159, 86_868_160)),
    ("3p11-q11", "3", (88_917_310, 96_017_310), (88_868_160, 96_298_466)),
    ("5p12-q11", "5", (44_464_243, 50_464_243), (44_464_141, 51_168_409)),
    ("5q21", "5", (97_972_100, 100_472_101), (98_636_396, 101_136_397)),
    ("5q23-q31", "5", (128_972_101, 131_972_101), (129_636_408, 132_636_409)),
    ("5q31", "5", (135_472_101, 138_472_101), (136_136_412, 139_136_412)),
    (MHC, "6", (25_392_021, 33_448_354), (25_391_793, 33_480_577)),
    ("6p11-q11", "6", (56_892_041, 63_942_041), (57_027_243, 63_232_137)),
    ("6q24", "6", (139_958_307, 142_458_307), (139_637_170, 142_137_170)),
    ("7p11-q11", "7", (55_032_506, 66_362_565), (54_964_813, 66_897_578)),
    ("8p23 inversion", "8", (7_962_590, 11_962_591), (8_105_068, 12_105_082)),
    ("8p11-q11", "8", (42_880_843, 49_837_447), (43_025_700, 48_924_888)),
    ("8q23", "8", (111_930_824, 114_930_824), (110_918_595, 113_918_595)),
    ("10p11-q11", "10", (36_959_994, 43_679_994), (36_671_066, 43_184_546)),
    ("11p11-q12", "11", (46_043_424, 57_243_424), (46_021_873, 57_475_951)),
    ("11q14", "11", (87_860_352, 90_860_352), (88_127_184, 91_127_184)),
    ("12p11-q12", "12", (33_108_733, 41_713_733), (32_955_799, 41_319_931)),
    ("12q24", "12", (111_015_617, 113_515_617), (110_577_813, 113_077_812)),
    ("20q11", "20", (32_536_339, 35_066_586), (33_948_533, 36_438_183)),
]


def ld_regions(build: str) -> pd.DataFrame:
    """The MHC and 23 other regions of long-range linkage disequilibrium in Europeans, in one build.

    The MHC reaches from the start of its extended region to the end the Genome Reference Consortium gives it. The others are
    those of Price et al., lifted from NCBI36; in GRCh38, ends that the published lift-over loses were moved by the shift of the
    sequence beside them, so that they are good to some bases only.

    Returns
    -------
    Columns `region`, `chromosome`, `start`, `end`: 1-based, both ends included.

    References
    ----------
    doi:10.1016/j.ajhg.2008.06.005; doi:10.1038/nprot.2010.116; github.com/meyer-lab-cshl/plinkQC (GRCh38)
    """
    at = BUILDS.index(choose("build", build, BUILDS))
    rows = [(name, chromosome, *ends[at]) for name, chromosome, *ends in _REGIONS]
    return pd.DataFrame(rows, columns=["region", "chromosome", "start", "end"])


def in_regions(variants: pd.DataFrame, regions: pd.DataFrame) -> pd.Series:
    """The region each variant lies in, "" where it is in none; the first of `regions` where they overlap.

    Parameters
    ----------
    variants
        Columns `chromosome` and `position`, as `Genotypes.variants`.
    regions
        Columns `region`, `chromosome`, `start`, `end`, as of `ld_regions`.
    """
    chromosome, position = plain(variants["chromosome"].to_numpy()), variants["position"].to_numpy()
    found = np.full(len(variants), "", dtype=object)
    for name, where, start, end in regions[["region", "chromosome", "start", "end"]].itertuples(index=False):
        inside = (chromosome == where) & (position >= start) & (position <= end)
        found[inside & (found == "")] = name
    return pd.Series(found, index=variants.index, name="region")
