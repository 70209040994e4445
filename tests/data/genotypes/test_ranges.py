"""Gene ranges: every format, its base, names, biotypes, several places, and what is broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from vnn._errors import GenotypeError
from vnn.data.genotypes import GeneRanges, read_gene_bed, read_gene_list, read_gene_ranges, read_gene_table, read_gtf

# Ensembl 75 and GENCODE 19 (GRCh37), shortened attributes
ENSEMBL_GTF = """#!genome-build GRCh37.p13
16\tprotein_coding\tgene\t6069095\t7763340\t.\t+\t.\tgene_id "ENSG00000078328"; gene_name "RBFOX1"; gene_biotype "protein_coding";
16\tprotein_coding\ttranscript\t6069095\t7763340\t.\t+\t.\tgene_id "ENSG00000078328"; transcript_id "ENST00000547338";
3\tprotein_coding\tgene\t59735036\t61237133\t.\t-\t.\tgene_id "ENSG00000189283"; gene_name "FHIT"; gene_biotype "protein_coding";
4\tlincRNA\tgene\t178649911\t178897158\t.\t+\t.\tgene_id "ENSG00000249106"; gene_biotype "lincRNA";
"""
ENSEMBL_GFF3 = """##gff-version 3
#!genome-build  GRCh38.p14
chr16\thavana\tgene\t6019024\t7713340\t.\t+\t.\tID=gene:ENSG00000078328;Name=RBFOX1;biotype=protein_coding;gene_id=ENSG00000078328
chr16\thavana\tmRNA\t6019024\t7713340\t.\t+\t.\tID=transcript:ENST00000547338;Parent=gene:ENSG00000078328;Name=RBFOX1-201
chr4\thavana\tncRNA_gene\t177728757\t177976004\t.\t+\t.\tID=gene:ENSG00000249106;biotype=lncRNA
"""
REFSEQ_GFF3 = """##gff-version 3
NC_000016.9\tBestRefSeq\tgene\t100\t200\t.\t+\t.\tID=gene-A%2C1;Dbxref=GeneID:1;Name=A%2C1;gbkey=Gene;gene=A1;gene_biotype=protein_coding
NC_000023.10\tBestRefSeq\tgene\t300\t400\t.\t-\t.\tID=gene-B;Name=B;gene=B;gene_biotype=pseudogene
"""


def file(folder: Path, text: str, name: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def rows(ranges: GeneRanges) -> set[tuple]:
    return set(ranges.places.itertuples(index=False, name=None))


class TestGtf:
    def test_genes_with_names_biotypes_and_the_build_of_the_header(self, tmp_path):
        ranges = read_gtf(file(tmp_path, ENSEMBL_GTF, "e.gtf"))
        assert rows(ranges) == {
            ("RBFOX1", "16", 6_069_095, 7_763_340, "+"),
            ("FHIT", "3", 59_735_036, 61_237_133, "-"),
            ("ENSG00000249106", "4", 178_649_911, 178_897_158, "+"),
        }
        assert repr(ranges) == "GeneRanges(3 genes at 3 places, GRCh37)"
        assert ranges.log == (
            "gene ranges: e.gtf: 3 genes by biotype: protein_coding 2, lincRNA 1",
            "gene ranges: e.gtf: 1 genes have no name and go by their id",
            "gene ranges: e.gtf: the header says GRCh37",
        )
        assert ranges.source["role"] == "gene ranges"
        assert len(ranges.source["sha256"]) == 64

    def test_biotype_and_another_attribute(self, tmp_path):
        path = file(tmp_path, ENSEMBL_GTF, "e.gtf")
        coding = read_gtf(path, biotypes="protein_coding", name="gene_id")
        assert {row[0] for row in rows(coding)} == {"ENSG00000078328", "ENSG00000189283"}
        assert "1 genes of other biotypes than 'protein_coding' left out" in coding.log[1]
        with pytest.raises(GenotypeError, match="no gene of biotype 'miRNA'; it has protein_coding 2, lincRNA 1"):
            read_gtf(path, biotypes=["miRNA"])
        with pytest.raises(GenotypeError, match="attribute 'symbol'; they have 'gene_biotype', 'gene_id', 'gene_name'"):
            read_gtf(path, name="symbol")

    def test_gff3_of_ensembl_and_refseq(self, tmp_path):
        ensembl = read_gene_ranges(file(tmp_path, ENSEMBL_GFF3, "e.gff3"))
        assert rows(ensembl) == {
            ("RBFOX1", "16", 6_019_024, 7_713_340, "+"),
            ("ENSG00000249106", "4", 177_728_757, 177_976_004, "+"),
        }
        assert ensembl.build == "GRCh38"
        assert any("'chr16 -> 16', 'chr4 -> 4'" in line for line in ensembl.log)
        refseq = read_gtf(file(tmp_path, REFSEQ_GFF3, "r.gff"))
        assert rows(refseq) == {("A,1", "16", 100, 200, "+"), ("B", "X", 300, 400, "-")}

    def test_gzip_and_crlf_are_read_alike(self, tmp_path):
        plain = read_gtf(file(tmp_path, ENSEMBL_GTF, "e.gtf"))
        packed = tmp_path / "e.gtf.gz"
        packed.write_bytes(gzip.compress(ENSEMBL_GTF.replace("\n", "\r\n").encode()))
        pd.testing.assert_frame_equal(read_gene_ranges(packed).places, plain.places)
        packed.write_bytes(packed.read_bytes()[:-20])
        with pytest.raises(GenotypeError, match=r"e\.gtf\.gz is a truncated or damaged gzip"):
            read_gtf(packed)

    def test_transcripts_that_overlap_are_one_place(self, tmp_path):
        lines = [("1", 10, 20, "+"), ("1", 15, 40, "+"), ("1", 12, 14, "+"), ("1", 41, 50, "+"), ("1", 16, 18, "-")]
        text = "".join(f'{c}\tx\ttranscript\t{a}\t{b}\t.\t{s}\t.\tgene_name "A"\n' for c, a, b, s in lines)
        path = file(tmp_path, text, "t.gtf")
        with pytest.raises(GenotypeError, match=r"has no record of type .*; it has transcript 5.*features="):
            read_gtf(path)
        ranges = read_gtf(path, features=["transcript"])
        assert rows(ranges) == {("A", "1", 10, 40, "+"), ("A", "1", 41, 50, "+"), ("A", "1", 16, 18, "-")}
        assert "5 ranges; those of a gene that overlap are one place: 3 places" in ranges.log[0]

    def test_broken(self, tmp_path):
        with pytest.raises(GenotypeError, match=r"x\.gtf, line 2: 4 fields separated by tabs"):
            read_gtf(file(tmp_path, "#\n1 x gene 5\t6\t7\t8\n", "x.gtf"))
        with pytest.raises(GenotypeError, match=r"header of e\.gtf says GRCh37, and build='GRCh38' was declared"):
            read_gtf(file(tmp_path, ENSEMBL_GTF, "e.gtf"), build="GRCh38")
        with pytest.raises(GenotypeError, match="start that is no whole number in 1 rows: 'a'"):
            read_gtf(file(tmp_path, '1\tx\tgene\ta\t6\t.\t+\t.\tgene_name "A"\n', "x.gtf"))
        with pytest.raises(GenotypeError, match="strands '='"):
            read_gtf(file(tmp_path, '1\tx\tgene\t5\t6\t.\t=\t.\tgene_name "A"\n', "x.gtf"))
        with pytest.raises(GenotypeError, match=r"1 of 1 ranges of x\.gtf are none: 'A 1:7-6'"):
            read_gtf(file(tmp_path, '1\tx\tgene\t7\t6\t.\t+\t.\tgene_name "A"\n', "x.gtf"))
        with pytest.raises(GenotypeError, match="are none: ' 1:5-6'"):
            read_gtf(file(tmp_path, '1\tx\tgene\t5\t6\t.\t+\t.\tnote "A"\n', "x.gtf"))
        with pytest.raises(GenotypeError, match="holds no line"):
            read_gtf(file(tmp_path, "\n \n", "x.gtf"))


def test_all_formats_of_the_same_gene_agree(tmp_path):
    gtf = '1\tx\tgene\t101\t200\t.\t-\t.\tgene_name "A";\n'
    written = {
        "a.gtf": gtf,
        "a.bed": "track name=x\nchr1\t100\t200\tA\t0\t-\n",
        "glist": "1 101 200 A -\n",
        "biomart.txt": "Gene name\tChromosome/scaffold name\tGene start (bp)\tGene end (bp)\tStrand\nA\t1\t101\t200\t-1\n",
        "ucsc.tsv": "#chrom\ttxStart\ttxEnd\tstrand\tname\nchr1\t100\t200\t-\tA\n",
        "own.csv": 'symbol,chr,start,stop,strand\n"A",1,101,200,-\n',
    }
    for name, text in written.items():
        assert rows(read_gene_ranges(file(tmp_path, text, name))) == {("A", "1", 101, 200, "-")}, name


def test_plinks_list_with_genes_at_several_places(tmp_path):
    text = (  # lines of PLINK's glist-hg19
        "10 47191843 47213626 AGAP9\n10 48215723 48237508 AGAP9\nX 1710485 1721411 AKAP17A\nY 1660485 1671411 AKAP17A\n"
        "XY 1710485 1721411 AKAP17A\n19 58858171 58864865 A1BG\n"
    )
    ranges = read_gene_list(file(tmp_path, text, "glist-hg19"), build="GRCh37")
    assert len(ranges.places) == 6
    assert set(ranges.places["strand"]) == {""}
    assert ranges.log == (
        "gene ranges: glist-hg19: 2 of 3 genes lie at several places, 1 of them on several chromosomes; all are used: "
        "'AGAP9', 'AKAP17A'",
    )


def test_tables_say_which_columns_they_lack(tmp_path):
    path = file(tmp_path, "locus\tchr\tfrom\tto\nA\t1\t5\t9\n", "own.tsv")
    with pytest.raises(GenotypeError, match=r"no column for the gene; its header is 'locus', 'chr', 'from', 'to'"):
        read_gene_table(path)
    ranges = read_gene_table(path, columns={"gene": "locus", "start": "from", "end": "to"})
    assert rows(ranges) == {("A", "1", 5, 9, "")}
    with pytest.raises(GenotypeError, match="no column for the strand called 'side'"):
        read_gene_table(path, columns={"gene": "locus", "start": "from", "end": "to", "strand": "side"})
    with pytest.raises(GenotypeError, match="line 2: 3 fields; the header has 4"):
        read_gene_table(file(tmp_path, "gene\tchr\tstart\tend\nA\t1\t5\n", "short.tsv"))


def test_lines_that_are_no_gene(tmp_path):
    with pytest.raises(GenotypeError, match="line 1: 3 fields; a BED of genes has at least 4"):
        read_gene_bed(file(tmp_path, "1\t5\t9\n", "a.bed"))
    with pytest.raises(GenotypeError, match="line 2: 6 fields; a gene list has 4 or 5"):
        read_gene_list(file(tmp_path, "1 5 9 A\n79501 1 69091 70008 + OR4F5\n", "gene.loc"))
    with pytest.raises(GenotypeError, match="holds no gene range"):
        read_gene_bed(file(tmp_path, "track name=x\n", "a.bed"))
    with pytest.raises(ValueError, match="build is 'hg19'"):
        read_gene_bed(file(tmp_path, "1\t5\t9\tA\n", "a.bed"), build="hg19")
