"""A whole study from one file: what it says, what it would do, what it did."""

from vnn.study.folder import RECORD
from vnn.study.material import Material, Prepared, prepare, read_material, splits_of, wiring_of
from vnn.study.plan import plan
from vnn.study.run import Results, run_study
from vnn.study.settings import (
    AttributionSection,
    CompareSection,
    DataSection,
    GenotypeSection,
    NullSection,
    OntologySection,
    QualitySection,
    ReportSection,
    SearchSection,
    SplitSection,
    Study,
)
from vnn.study.start import study_file
from vnn.study.traits import run_traits, studies_of

__all__ = [
    "RECORD",
    "AttributionSection",
    "CompareSection",
    "DataSection",
    "GenotypeSection",
    "Material",
    "NullSection",
    "OntologySection",
    "Prepared",
    "QualitySection",
    "ReportSection",
    "Results",
    "SearchSection",
    "SplitSection",
    "Study",
    "wiring_of",
    "plan",
    "prepare",
    "read_material",
    "run_study",
    "run_traits",
    "splits_of",
    "studies_of",
    "study_file",
]
