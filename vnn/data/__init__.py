"""Data: files of values and labels become `Samples`, split, scaled and joined by name."""

from vnn.data.checks import Check, data_checks
from vnn.data.counts import log_cpm
from vnn.data.covariates import CovariateCoding
from vnn.data.gct import read_cls, read_gct
from vnn.data.h5ad import read_h5ad
from vnn.data.merging import Merged, merge_features
from vnn.data.omics import Joined, join_omics
from vnn.data.permutation import LabelNull, Relabelled, label_null
from vnn.data.predictive import equally_predictive
from vnn.data.rare import limit_classes
from vnn.data.read import read_samples
from vnn.data.samples import Samples
from vnn.data.scaling import Scaling, fit_scaling
from vnn.data.simulate import Simulated, Truth, simulate_expression
from vnn.data.splits import Split, half_samples, hold_out, k_fold, leave_one_group_out
from vnn.data.tables import Matrix, read_matrix, read_table
from vnn.data.targets import Target, encode_survival, encode_target

__all__ = [
    "Samples",
    "read_samples",
    "Matrix",
    "read_matrix",
    "read_table",
    "read_gct",
    "read_cls",
    "read_h5ad",
    "Target",
    "encode_survival",
    "encode_target",
    "CovariateCoding",
    "Split",
    "half_samples",
    "hold_out",
    "k_fold",
    "leave_one_group_out",
    "Scaling",
    "fit_scaling",
    "Joined",
    "join_omics",
    "Merged",
    "merge_features",
    "limit_classes",
    "log_cpm",
    "Check",
    "data_checks",
    "Simulated",
    "Truth",
    "simulate_expression",
    "label_null",
    "LabelNull",
    "Relabelled",
    "equally_predictive",
]
