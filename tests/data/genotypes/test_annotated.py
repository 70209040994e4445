"""Tables of variants and genes: ANNOVAR, VEP, regenie, GenNet, two columns; by id or by position and alleles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.data.genotypes.placed import variants_at
from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import GeneMap, read_annovar, read_plink, read_regenie, read_variant_genes, read_vep
from vnn.data.genotypes.annotated import keys
from vnn.ontology.gennet import read_gennet

VEP = """## ENSEMBL VARIANT EFFECT PREDICTOR v110.1
## Output produced at 2023-09-01
#Uploaded_variation\tLocation\tAllele\tGene\tFeature\tFeature_type\tConsequence\tExtra
rs0\t16:100\tA\tENSG1\tENST1\tTranscript\tintron_variant\tIMPACT=MODIFIER;STRAND=1;SYMBOL=RBFOX1;SYMBOL_SOURCE=HGNC
rs0\t16:100\tA\tENSG1\tENST2\tTranscript\tintron_variant,NMD_transcript_variant\tIMPACT=MODIFIER;SYMBOL=RBFOX1
rs0\t16:100\tA\tENSG2\tENST3\tTranscript\tupstream_gene_variant\tIMPACT=MODIFIER;DISTANCE=12;STRAND=-1
rs1\t16:200-201\t-\t-\t-\t-\tintergenic_variant\tIMPACT=MODIFIER
rs2\t16:300\tA\t-\tENSR1\tRegulatoryFeature\tregulatory_region_variant\tIMPACT=MODIFIER
rs2\t16:300\tA\tENSG3\tENST9\tTranscript\tmissense_variant\tIMPACT=MODERATE;SYMBOL=WWOX
rs9\t17:300\tA\tENSG4\tENST8\tTranscript\tmissense_variant\tIMPACT=MODERATE;SYMBOL=TP53
"""
ANNOVAR = """upstream;downstream\tA(dist=12);B(dist=700)\t1\t100\t100\tA\tC\trs0
intergenic\tNONE(dist=NONE),C(dist=900)\t1\t200\t200\tA\tC\trs1
intergenic\tC(dist=40),D(dist=40)\t1\t300\t300\tA\tC\trs2
exonic\tA,B\t1\t400\t400\tA\tC\trs3
UTR3\tE(NM_1:c.*1A>C,NM_2:c.*(2_3)del)\tchr1\t500\t500\tA\tC\trs4
intronic\tF\t2\t500\t500\tA\tC\trs9
"""


def file(folder: Path, text: str, name: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def pairs(gene_map: GeneMap) -> set[tuple[str, str]]:
    return set(gene_map.pairs.itertuples(index=False, name=None))


@pytest.mark.data
class TestGiven:
    @pytest.fixture
    def genotypes(self, real):
        return read_plink(real("genotype/gennet_a_to_z/plink/GenNet_simulation.bed").with_suffix(""))

    def test_the_100_annotations_of_annovar_agree_with_gennets_topology(self, real, genotypes):
        folder = real("genotype/gennet_a_to_z/processed_data/GenNet_simulation_RefGene.variant_function").parent
        found = GeneMap.from_annotation(genotypes, read_annovar(folder / "GenNet_simulation_RefGene.variant_function"))
        topology = read_gennet(real("genotype/gennet_a_to_z/run_folder/topology.csv")).to_edges()
        named = "chr" + genotypes.variants["chromosome"] + ":" + genotypes.variants["position"].astype(str)
        mine = {(named[variant], gene) for variant, gene in pairs(found)}
        assert mine == set(topology[["source", "target"]].itertuples(index=False, name=None))
        assert len(mine) == 100
        own = read_variant_genes(real("genotype/gennet_a_to_z/run_folder/topology.csv"), met_by="position")
        assert pairs(GeneMap.from_annotation(genotypes, own)) == pairs(found)
        exonic = read_annovar(folder / "GenNet_simulation_RefGene.exonic_variant_function")
        some = GeneMap.from_annotation(genotypes, exonic)
        assert len(pairs(some)) == 8
        assert pairs(some) < pairs(found)
        missense = GeneMap.from_annotation(genotypes, exonic, kinds="nonsynonymous SNV")
        assert (len(pairs(missense)), missense.log[-3]) == (
            7,
            "gene map: 1 of 8 rows are of other kinds and were left out",
        )

    def test_ids_that_are_positions_do_not_meet_ids(self, real, genotypes):
        table = read_variant_genes(real("genotype/gennet_a_to_z/run_folder/topology.csv"))
        with pytest.raises(
            AlignmentError,
            match=r"none of the 100 variants of topology.csv .* 'chr16:6068679'.*'16:6068679_C_A'.*met_by=",
        ):
            GeneMap.from_annotation(genotypes, table)

    def test_gennets_regression_example(self, real):
        table = read_variant_genes(real("genotype/gennet_regression/topology.csv"))
        genotypes = variants_at(*(f"1:{i + 1}" for i in range(100)), ids=[f"SNP{i}" for i in range(100)])
        found = GeneMap.from_annotation(genotypes, table)
        assert (
            found.topology()
            .to_edges()[["source", "target"]]
            .equals(
                read_gennet(real("genotype/gennet_regression/topology.csv"))
                .to_edges()
                .query("source_level == 'inputs'")[["source", "target"]]
                .reset_index(drop=True)
            )
        )

    def test_regenie(self, real):
        genotypes = read_plink(real("genotype/regenie/example_3chr.bed").with_suffix(""))
        annotations = real("genotype/regenie/example_3chr.annotations")
        table = read_regenie(annotations)
        assert table.log == ("annotation: example_3chr.annotations: 500 rows: pLof 358, missense 142",)
        for kind, n in (("pLof", 358), ("missense", 142)):
            assert len(GeneMap.from_annotation(genotypes, table, kinds=kind).variant) == n
        with pytest.raises(GenotypeError, match=r"no rows of kind 'LoF'; it has 'pLof \(358\)', 'missense \(142\)'"):
            GeneMap.from_annotation(genotypes, table, kinds={"LoF", "pLof"})
        listed = read_regenie(annotations, real("genotype/regenie/example_3chr.setlist"))
        assert "3 sets with 73 members, 3 of them without an annotation (NULL); 430 annotated variants" in listed.log[1]
        found = GeneMap.from_annotation(genotypes, listed)
        assert found.sizes()["n_variants"].to_dict() == {"SET1": 40, "SET2": 30}
        assert "70 of 500 variants are in example_3chr.annotations" in found.log[-3]
        assert "3 of its 73 variants are not in the genotypes" in found.log[-3]


class TestAnnovar:
    def test_all_genes_by_position_and_alleles(self, tmp_path):
        table = read_annovar(file(tmp_path, ANNOVAR, "x.variant_function"))
        genotypes = variants_at("1:100", "1:200", "1:300", "1:400:A:C", "chr1:500", "3:1")
        found = GeneMap.from_annotation(genotypes, table)
        assert pairs(found) == {("rs0", "A"), ("rs0", "B"), ("rs3", "A"), ("rs3", "B"), ("rs4", "E")}
        assert found.log[-3:] == (
            "gene map: 5 of 6 variants are in x.variant_function, met by position; 1 are not and have no gene; 1 of its 6 "
            "variants are not in the genotypes",
            "gene map: 3 of 6 variants have a gene, 2 of them several; 2 are intergenic: they have no gene",
            "gene map: 3 of 6 genes have variants, 5 pairs in all",
        )

    @pytest.mark.parametrize(
        ("rule", "within", "gained"),
        [
            ("nearest", 39, set()),
            ("nearest", 40, {("rs2", "C"), ("rs2", "D")}),
            ("nearest", 900, {("rs1", "C"), ("rs2", "C"), ("rs2", "D")}),
            ("node", None, {("rs1", "intergenic"), ("rs2", "intergenic")}),
            ("chromosome", None, {("rs1", "intergenic 1"), ("rs2", "intergenic 1")}),
        ],
    )
    def test_intergenic(self, tmp_path, rule, within, gained):
        table = read_annovar(file(tmp_path, ANNOVAR, "x.variant_function"), id_column=8)
        genotypes = variants_at("1:1", "1:2", "1:3", "1:4", "1:5", "3:1")
        plain = GeneMap.from_annotation(genotypes, table)
        found = GeneMap.from_annotation(genotypes, table, intergenic=rule, within=within)
        assert pairs(found) - pairs(plain) == gained
        assert pairs(plain) < pairs(found) or not gained
        assert set(found.intergenic) == {gene for _, gene in gained if "intergenic" in gene}

    def test_kinds_of_a_row(self, tmp_path):
        table = read_annovar(file(tmp_path, ANNOVAR, "x.variant_function"), id_column=8)
        genotypes = variants_at("1:1", "1:2", "1:3", "1:4", "1:5")
        found = GeneMap.from_annotation(genotypes, table, kinds=["downstream", "UTR3"])
        assert pairs(found) == {("rs0", "A"), ("rs0", "B"), ("rs4", "E")}

    def test_insertions_and_deletions_meet(self, tmp_path):
        text = (  # PLINK's 1:100 CAT>C, 1:200 G>GTT, 1:300 A>C with another allele in the table, 1:400 twice
            "intronic\tDEL\t1\t101\t102\tAT\t-\nintronic\tINS\t1\t200\t200\t-\tTT\nintronic\tNOT\t1\t300\t300\tA\tT\n"
            "intronic\tTWO\t1\t400\t400\tA\tC\n"
        )
        table = read_annovar(file(tmp_path, text, "x.variant_function"))
        genotypes = variants_at("1:100:C:CAT", "1:200:GTT:G", "1:300:A:C", "1:400:A:C", "1:400:C:A")
        assert pairs(GeneMap.from_annotation(genotypes, table)) == {
            ("rs0", "DEL"), ("rs1", "INS"), ("rs3", "TWO"), ("rs4", "TWO"),
        }  # fmt: skip

    def test_broken(self, tmp_path):
        with pytest.raises(GenotypeError, match=r"line 1: 3 fields; annotate_variation.pl"):
            read_annovar(file(tmp_path, "a\tb\tc\n", "x.variant_function"))
        with pytest.raises(GenotypeError, match="7 columns; there is no column 9 with ids"):
            read_annovar(file(tmp_path, "intronic\tA\t1\t5\t5\tA\tC\n", "x.variant_function"), id_column=9)


class TestVep:
    def test_all_genes_of_all_transcripts(self, tmp_path):
        table = read_vep(file(tmp_path, VEP, "vep.txt"))
        genotypes = variants_at("16:100", "16:200", "16:300")
        found = GeneMap.from_annotation(genotypes, table, intergenic="node")
        assert pairs(found) == {("rs0", "RBFOX1"), ("rs0", "ENSG2"), ("rs1", "intergenic"), ("rs2", "WWOX")}
        assert table.log[1] == "annotation: vep.txt: 1 rows have no gene symbol and go by their stable id"
        ids = GeneMap.from_annotation(genotypes, read_vep(tmp_path / "vep.txt", gene="Gene"))
        assert pairs(ids) == {("rs0", "ENSG1"), ("rs0", "ENSG2"), ("rs2", "ENSG3")}
        some = GeneMap.from_annotation(genotypes, table, kinds=["NMD_transcript_variant", "missense_variant"])
        assert pairs(some) == {("rs0", "RBFOX1"), ("rs2", "WWOX")}
        with pytest.raises(GenotypeError, match="tells no distances of intergenic variants"):
            GeneMap.from_annotation(genotypes, table, intergenic="nearest", within=5)

    def test_by_location_and_with_columns_of_its_own(self, tmp_path):
        lines = [line.split("\t") for line in VEP.splitlines()[3:]]
        header = VEP.splitlines()[2].replace("Extra", "SYMBOL\tIMPACT")
        symbols = [line[-1].split("SYMBOL=")[1].split(";")[0] if "SYMBOL=" in line[-1] else "-" for line in lines]
        text = "\n".join(
            [header, *("\t".join([*line[:-1], symbol, "x"]) for line, symbol in zip(lines, symbols, strict=True))]
        )
        table = read_vep(file(tmp_path, text, "vep.tab"), met_by="position")
        genotypes = variants_at("chr16:100", "16:300:AT:A", ids=["one", "two"])
        assert pairs(GeneMap.from_annotation(genotypes, table)) == {
            ("one", "RBFOX1"),
            ("one", "ENSG2"),
            ("two", "WWOX"),
        }

    def test_other_output(self, tmp_path):
        with pytest.raises(GenotypeError, match=r"line 1: VEP's tab-delimited output is needed"):
            read_vep(file(tmp_path, "##fileformat=VCFv4.2\n", "vep.vcf"))
        with pytest.raises(GenotypeError, match="has no column 'Gene'"):
            read_vep(file(tmp_path, VEP.replace("\tGene\t", "\tGen\t"), "vep.txt"))
        with pytest.raises(GenotypeError, match=r'no gene symbol in any of its 7 rows.*gene="Gene"'):
            read_vep(file(tmp_path, VEP.replace("SYMBOL=", "S="), "vep.txt"))
        with pytest.raises(GenotypeError, match="line 4: 2 fields; the header has 8"):
            read_vep(file(tmp_path, "\n".join([*VEP.splitlines()[:3], "rs0\t1:5"]), "vep.txt"))


class TestTwoColumns:
    @pytest.mark.parametrize(
        "text",
        [
            "snp\tgene\nrs0\tA\nrs0\tB\nrs1\t.\nrs7\tC\n",
            "rs0 A\nrs0 B\nrs1 NA\nrs7 C\n",
            "gene,x,variant\nA;B,1,rs0\n,1,rs1\nC,1,rs7\n",
            "rs0\tA, B\nrs1\t-\nrs7\tC\n",
            ",chr,layer0_node,layer0_name,layer1_node,layer1_name\n0,1,0,rs0   ,0,A\n1,1,0,rs0,1,B\n2,1,1,rs1,2,\n3,1,2,rs7,3,C\n",
        ],
    )
    def test_forms(self, tmp_path, text):
        found = GeneMap.from_annotation(
            variants_at("1:1", "1:2", "1:3"), read_variant_genes(file(tmp_path, text, "t.txt")), intergenic="node"
        )
        assert pairs(found) == {("rs0", "A"), ("rs0", "B"), ("rs1", "intergenic")}
        assert "2 of 3 variants are in t.txt" in found.log[-3]
        assert "1 of its 3 variants are not in the genotypes" in found.log[-3]

    def test_named_columns(self, tmp_path):
        path = file(tmp_path, "locus\tsnp\tnearest\n1\trs0\tA\n", "t.tsv")
        with pytest.raises(
            GenotypeError, match="begins with 'locus', 'snp', 'nearest': which columns hold variant and gene"
        ):
            read_variant_genes(path)
        table = read_variant_genes(path, gene="nearest")
        assert table.rows[["variant", "gene"]].to_numpy().tolist() == [["rs0", "A"]]
        with pytest.raises(
            GenotypeError, match="no column 'Gene' for the gene; its header is 'locus', 'snp', 'nearest'"
        ):
            read_variant_genes(path, gene="Gene")

    def test_broken(self, tmp_path):
        with pytest.raises(GenotypeError, match="line 2: 1 fields; the first line has 2"):
            read_variant_genes(file(tmp_path, "rs0\tA\nrs1\n", "t.tsv"))
        with pytest.raises(GenotypeError, match=r"t\.tsv names no variant"):
            read_variant_genes(file(tmp_path, "snp\tgene\n", "t.tsv"))
        with pytest.raises(GenotypeError, match=r"1 of 2 rows of t\.tsv name no position: 'rs5'"):
            read_variant_genes(file(tmp_path, "1:5\tA\nrs5\tA\n", "t.tsv"), met_by="position")


def test_regenie_with_domains_and_files_that_do_not_fit(tmp_path):
    annotations = file(tmp_path, "rs0 A d1 pLof\nrs1 A d1 missense\n", "a.txt")
    assert read_regenie(annotations).rows["kind"].tolist() == ["pLof", "missense"]
    with pytest.raises(GenotypeError, match=r"no variant of a\.txt is in its set of s\.txt.*'rs0 in A'.*'rs0 in B'"):
        read_regenie(annotations, file(tmp_path, "B 1 5 rs0,rs1\n", "s.txt"))
    with pytest.raises(GenotypeError, match=r"s\.txt, line 1: 3 fields; set, chromosome, position and variants"):
        read_regenie(annotations, file(tmp_path, "A 1 rs0,rs1\n", "s.txt"))
    with pytest.raises(GenotypeError, match=r"a\.txt, line 1: 2 fields"):
        read_regenie(file(tmp_path, "rs0 A\n", "a.txt"))


def test_keys_of_a_variant_do_not_depend_on_how_it_is_written():
    written = pd.DataFrame(
        [
            ("1", 100, "A", "C", "1:100:A:C"),
            ("chr1", 100, "c", "a", "1:100:A:C"),
            ("23", 5, "A", "AT", "X:6::T"),
            ("XY", 5, "AT", "A", "X:6::T"),
            ("1", 100, "CAT", "C", "1:101::AT"),
            ("1", 99, "GCAT", "GC", "1:101::AT"),
            ("1", 100, "CATG", "CTTG", "1:101:A:T"),
            ("1", 100, "CAA", "CA", "1:102::A"),
            ("1", 7, "", "", "1:7"),
        ]
    )
    made = keys(*(written[i].to_numpy(dtype=object) for i in range(4)))
    assert made.tolist() == written[4].tolist()
    assert keys(*(np.empty(0, dtype=object),) * 4).tolist() == []
