"""Station 2: ontologies, and the named wiring of a network made from them."""

from vnn.ontology.catalogue import Recipe, Release, catalogue, load_ontology
from vnn.ontology.edges import read_edges
from vnn.ontology.gaf import read_gaf
from vnn.ontology.gmt import read_gmt
from vnn.ontology.go import read_go
from vnn.ontology.identifiers import Identifiers, Resolution, guess_type
from vnn.ontology.log import Entry
from vnn.ontology.obo import read_obo
from vnn.ontology.ontology import Ontology
from vnn.ontology.reactome import read_reactome
from vnn.ontology.rewiring import MaskDraws, Wirings, circular_shift, reassign, rewire, rewired_topology
from vnn.ontology.topology import Level, Mask, Topology

__all__ = [
    "load_ontology",
    "catalogue",
    "Recipe",
    "Release",
    "read_gmt",
    "read_reactome",
    "read_obo",
    "read_gaf",
    "read_go",
    "read_edges",
    "Identifiers",
    "Resolution",
    "guess_type",
    "Ontology",
    "Topology",
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
