"""From the results of a study to what its page says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vnn._errors import culprits
from vnn.data import Samples, Target
from vnn.data.genotypes import Cohort
from vnn.interpret import NodeScores
from vnn.models.network import COVARIATES
from vnn.ontology import Topology
from vnn.report.content import Content
from vnn.study.genome_page import genome_content, people_shown
from vnn.study.judged import verdict_content
from vnn.study.settings import is_file

if TYPE_CHECKING:
    from vnn.study.run import Results

EXAMPLES = 12
MOST_FLOWS = 5000
COVARIATE, GENES = "covariate: ", "genes"
NAMES = re.compile(r": '[^']*'(?: \([\d,]+\))?(?:, '[^']*'(?: \([\d,]+\))?)*(?: and [\d,]+ more)?")
COLUMNS = [
    "level", "node", "name", "n_inputs", "contrast", "effect", "effect_low", "effect_high",
    "score", "share", "share_low", "share_high", "mean_abs", "mean_abs_share",
]  # fmt: skip


def node_table(topology: Topology, effects: pd.DataFrame, scores: NodeScores) -> pd.DataFrame:
    """Activity effects and attributions of every node above the inputs, largest effect first."""
    effects = effects.rename(columns={"low": "effect_low", "high": "effect_high"})
    own = scores.table[scores.table["level"].isin({level.name for level in topology.levels[1:]})]
    found = effects.merge(
        own.drop(columns=["name", "n_splits"]), on=["level", "node", "contrast"], how="left", validate="one_to_one"
    )
    return found[COLUMNS]


def content_of(results: Results) -> Content:
    """What the page of a study says."""
    study, fit, samples = results.study, results.fit, results.samples
    inputs = _inputs(results)
    return Content(
        title=study.name,
        summary=_summary(fit.target, samples, results.topology),
        facts=_facts(results),
        settings=_flat(study.model_dump(exclude={"output"})),
        files=pd.DataFrame(list(samples.sources), columns=["role", "name", "sha256"]),
        knowledge=[_knowledge(record) for record in results.topology.provenance],
        dropped=_dropped(samples, results.topology),
        checks=results.checks,
        performance=results.performance,
        comparison=results.comparison,
        topology=results.topology,
        nodes=pd.concat([results.pathways, inputs], ignore_index=True),
        activities=results.activities.table(),
        outcome=_outcome(fit.target, samples),
        history=fit.history,
        flows=_flows(results),
        agreement=results.agreement,
        completeness=results.scores.completeness,
        baseline=results.scores.baseline,
        weaknesses=study.report.weaknesses,
        nulls=results.null_words,
        populations=study.report.populations,
        individuals=people_shown(results),
        **_calibration(results),
        **genome_content(results),
        **verdict_content(results),
    )


def _calibration(results: Results) -> dict[str, Any]:
    found = results.calibration
    return {} if found is None else {"calibration": found.table, "calibration_curve": found.curve}


def _knowledge(record: Mapping[str, Any]) -> dict[str, Any]:
    known = dict.fromkeys(("release", "species", "licence", "citation"), "not stated")
    stated = {key: value for key, value in record.items() if value}
    if "choices" in stated:
        stated["choices"] = ", ".join(f"{key} = {value!r}" for key, value in stated["choices"].items())
    return {**known, "files": [], **stated, "name": record["source"]}


def _inputs(results: Results) -> pd.DataFrame:
    """Inputs and covariates: attributions without an activity. Shares are of both together, the lowest cut of the network."""
    inputs = results.topology.levels[0].name
    table = results.scores.table
    table = table[table["level"].isin([inputs, COVARIATES])]
    late = table["level"] == COVARIATES
    table = table.assign(
        level=inputs, node=table["node"].where(~late, COVARIATE + table["node"]),
        name=table["name"].where(~late, table["name"] + " (covariate)"),
        n_inputs=1,
        effect=np.nan, effect_low=np.nan, effect_high=np.nan,
    )  # fmt: skip
    for raw, shares in (("score", ["share", "share_low", "share_high"]), ("mean_abs", ["mean_abs_share"])):
        size = table[raw].abs()
        own, all_of = (
            size.groupby([table["contrast"], late]).transform("sum"),
            size.groupby(table["contrast"]).transform("sum"),
        )
        table[shares] = table[shares].mul((own / all_of.where(all_of > 0, 1.0)).to_numpy(), axis=0)
    return table[COLUMNS]


def _flows(results: Results) -> pd.DataFrame:
    """What edges carry; covariates lead to the prediction from among the inputs."""
    flows = results.scores.flows
    late = flows["source_level"] == COVARIATES
    inputs = results.topology.levels[0].name
    source = flows["source"].where(~late, COVARIATE + flows["source"])
    return fewer_flows(flows.assign(source=source, source_level=flows["source_level"].where(~late, inputs)), inputs)


def fewer_flows(flows: pd.DataFrame, inputs: str, most: int = MOST_FLOWS) -> pd.DataFrame:
    """The flows with, for each contrast, only the `most` largest out of inputs one by one; others are summed by target."""
    own = flows["source_level"] == inputs
    order = flows["flow"].abs().where(own).groupby(flows["contrast"]).rank(ascending=False, method="first")
    weak = own & ~(order <= most)
    if not weak.any():
        return flows
    ends = ["contrast", "source_level", "target_level", "target"]
    summed = flows[weak].groupby(ends, sort=False, as_index=False)["flow"].sum().assign(source="")
    return pd.concat([flows[~weak], summed[flows.columns]], ignore_index=True)


def _summary(target: Target, samples: Samples | Cohort, topology: Topology) -> str:
    above = [level for level in topology.levels[1:] if level.name != GENES]
    what = "pathways" if above else "genes"
    terms = sum(len(level) - len(level.copies) for level in above or topology.levels[1:])
    if target.task == "cox":
        asked = f"Survival ({target.name}, {int(target.events.sum())} events)"  # type: ignore[union-attr]
    elif target.task == "regression":
        asked = f"{target.name}"
    elif len(target.classes) == 2:
        asked = f"{target.name}: {target.classes[1]} against {target.classes[0]}"
    else:
        asked = f"{target.name}: {len(target.classes)} classes"
    return f"{asked}, in {samples.n_samples:,} samples, from {len(topology.inputs):,} inputs through {terms:,} {what}"


def _facts(results: Results) -> dict[str, str]:
    fit = results.fit
    about = fit.about
    left_out = fit.replicates["id"][fit.replicates["state"] == "diverged"].tolist()
    known = len(results.topology.inputs)
    return {
        "seed": str(results.study.seed),
        "networks": f"{len(fit.replicates)} ({len(fit.splits)} splits x {results.study.n_seeds} seeds)"
        + (f"; {len(left_out)} diverged and were left out: {culprits(left_out)}" if left_out else ""),
        "measured features": f"{results.samples.n_features:,}",
        "of these used as inputs": f"{known:,} ({known / results.samples.n_features:.0%})",
        "topology": results.topology.fingerprint,
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        "kernels": str(about["backend"]),
        "machine": f"{about['machine']}, {about['threads']} threads",
    }


def _dropped(samples: Samples | Cohort, topology: Topology) -> pd.DataFrame:
    rows: list[tuple[object, ...]] = []
    for line in samples.log:
        step, _, reason = line.partition(": ")
        named = ", ".join(re.findall(r"'([^']*)'", "".join(NAMES.findall(reason))))
        people = re.search("sample|people removed", reason)
        rows.append((step, "samples" if people else "data", 0, NAMES.sub("", reason), named))
    for entry in topology.log:
        rows.append((entry.step, entry.kind, entry.count, entry.reason, ", ".join(entry.names[:EXAMPLES])))
    return pd.DataFrame(rows, columns=["step", "kind", "count", "reason", "examples"])


def _outcome(target: Target, samples: Samples | Cohort) -> pd.Series:
    index = pd.Index(samples.ids, name="sample")
    values = dict(zip(sorted(samples.ids), range(samples.n_samples), strict=True))
    ordered = [values[i] for i in samples.ids]
    if target.classes:
        return pd.Series([target.classes[k] for k in target.values[ordered]], index=index, name=target.name)
    if target.events is not None:
        happened = np.where(target.events[ordered], f"{target.event}: event", f"{target.event}: none seen")
        return pd.Series(happened, index=index, name=target.event)
    return pd.Series(target.values[ordered], index=index, name=target.name)


def _flat(stated: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Settings by their full key; of a path only the name, since a page may leave the machine."""
    found: dict[str, Any] = {}
    for key, value in stated.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{at}{key}.")
        elif isinstance(value, Path) or (key == "name" and is_file(str(value))):
            found[f"{at}{key}"] = Path(value).name
        elif value is not None:
            found[f"{at}{key}"] = value
    return found
