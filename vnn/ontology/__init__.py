"""Station 2: ontologies, and the named wiring of a network made from them."""

from vnn.ontology.annotations import read_annotations
from vnn.ontology.catalogue import Recipe, Release, catalogue, fetch_ontology, load_ontology, read_files
from vnn.ontology.cx2 import read_cx2, write_cx2
from vnn.ontology.dcell import read_dcell
from vnn.ontology.drugcell import read_drugcell, read_index, write_drugcell
from vnn.ontology.edges import read_edges, write_edges
from vnn.ontology.gaf import read_gaf
from vnn.ontology.gene2go import read_gene2go
from vnn.ontology.gennet import read_gennet, read_gennet_masks, write_gennet
from vnn.ontology.gmt import read_gmt, write_gmt
from vnn.ontology.go import read_go
from vnn.ontology.graphml import read_graphml, write_graphml
from vnn.ontology.identifiers import Identifiers, Resolution, guess_type, identify
from vnn.ontology.kegg import read_brite, read_kegg, read_kgml
from vnn.ontology.kept import load_topology
from vnn.ontology.kpnn import read_kpnn
from vnn.ontology.log import Entry
from vnn.ontology.masks import read_gene_mask, read_mask
from vnn.ontology.obo import read_obo
from vnn.ontology.obographs import read_obographs
from vnn.ontology.ontology import Ontology
from vnn.ontology.reactome import read_reactome, read_reactome_mapping
from vnn.ontology.regulons import read_regulons
from vnn.ontology.rewiring import MaskDraws, Wirings, circular_shift, reassign, rewire, rewired_topology
from vnn.ontology.statistics import ontology_statistics, topology_statistics
from vnn.ontology.topology import Level, Mask, Topology
from vnn.ontology.topology_table import read_topology, write_topology
from vnn.ontology.translation import read_translation, translated
from vnn.ontology.union import union

__all__ = [
    "load_ontology",
    "load_topology",
    "fetch_ontology",
    "read_files",
    "catalogue",
    "Recipe",
    "Release",
    "read_gmt",
    "read_reactome",
    "read_reactome_mapping",
    "read_kegg",
    "read_brite",
    "read_kgml",
    "read_annotations",
    "read_obo",
    "read_obographs",
    "read_gaf",
    "read_gene2go",
    "read_go",
    "read_edges",
    "write_edges",
    "read_drugcell",
    "write_drugcell",
    "read_index",
    "read_dcell",
    "read_kpnn",
    "read_cx2",
    "write_cx2",
    "read_gennet",
    "read_gennet_masks",
    "write_gennet",
    "read_mask",
    "read_gene_mask",
    "read_regulons",
    "read_graphml",
    "write_graphml",
    "read_topology",
    "write_topology",
    "write_gmt",
    "Identifiers",
    "Resolution",
    "guess_type",
    "identify",
    "read_translation",
    "translated",
    "Ontology",
    "union",
    "ontology_statistics",
    "Topology",
    "topology_statistics",
    "Level",
    "Mask",
    "Entry",
    "rewire",
    "reassign",
    "circular_shift",
    "rewired_topology",
    "Wirings",
    "MaskDraws",
]
