"""The protocol of Zhao, Shao & Asmann on the networks it was made for: multilayer perceptrons that tell tissues apart.

Run it with:  python examples/zhao_mlp.py [OUTPUT]

Four tissues are simulated, each with 15 genes of its own; 12 networks with one hidden layer learn to tell them apart, and the
protocol says how far their explanations agree, as published and in the default form. It takes a minute or two of one core.
The data are simple: agreement on real tissues is another matter. docs/protocol.md shows what came out.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from vnn.chance import generator
from vnn.interpret.protocol import protocol
from vnn.report.agreement import write_agreement

TISSUES = ("brain", "heart", "liver", "lung")
N_MARKERS, N_HOUSEKEEPING = 15, 30
EXPLAINERS = ("DeepLIFT", "integrated gradients", "gradient x input", "saliency", "guided backpropagation")


def cohort(
    n_samples: int = 240, n_genes: int = 300, *, shift: float = 0.7, seed: int = 1
) -> tuple[pd.DataFrame, pd.Series, dict[str, list[str]]]:
    """Expression with samples in rows, the tissue of each sample, and lists of genes: markers of each tissue, housekeeping.

    Genes are on a log scale; a marker is higher in its tissue by `shift` standard deviations, housekeeping genes are high
    everywhere and vary little.
    """
    rng = generator(seed, "tissues")
    genes = [f"g{i:03d}" for i in range(n_genes)]
    tissue = np.arange(n_samples) % len(TISSUES)
    mean, deviation = rng.uniform(2, 8, n_genes), rng.uniform(0.5, 1.5, n_genes)
    house = slice(n_genes - N_HOUSEKEEPING, n_genes)
    mean[house], deviation[house] = rng.uniform(10, 12, N_HOUSEKEEPING), 0.3
    factors, loads = rng.standard_normal((n_samples, 20)), 0.4 * rng.standard_normal((20, n_genes))
    noise = factors @ loads + rng.standard_normal((n_samples, n_genes))
    x = noise / noise.std(0)
    lists = {"housekeeping": genes[house]}
    for i, name in enumerate(TISSUES):
        markers = slice(i * N_MARKERS, (i + 1) * N_MARKERS)
        x[tissue == i, markers] += shift
        lists[f"{name}-specific"] = genes[markers]
    ids = [f"sample {i}" for i in range(n_samples)]
    labels = pd.Series([TISSUES[i] for i in tissue], ids, name="tissue")
    return pd.DataFrame(mean + deviation * x, ids, genes), labels, lists


def train_mlp(
    x: np.ndarray,
    y: np.ndarray,
    *,
    n_classes: int,
    n_hidden: int = 32,
    epochs: int = 30,
    dropout: float = 0.3,
    seed: int = 0,
) -> nn.Module:
    """One network with one hidden layer, from raw values to logits, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.BatchNorm1d(x.shape[1], affine=False),
            nn.Linear(x.shape[1], n_hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(n_hidden, n_classes),
        )
        optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.1)
        values, truth = torch.from_numpy(x).float(), torch.from_numpy(y)
        for _ in range(epochs):
            for at in torch.randperm(len(values)).split(64):
                optimiser.zero_grad()
                nn.functional.cross_entropy(network(values[at]), truth[at]).backward()
                optimiser.step()
    return network.eval()


def main(output: Path, *, n_models: int = 12, n_samples: int = 240, n_genes: int = 300, epochs: int = 30) -> None:
    """Train, explain the held-out half in both forms, print what came out and write tables and figures."""
    expression, tissue, lists = cohort(n_samples, n_genes)
    learn = np.arange(n_samples) % 8 < 4
    x, y = expression.to_numpy(), tissue.map(TISSUES.index).to_numpy()
    networks = [train_mlp(x[learn], y[learn], n_classes=len(TISSUES), epochs=epochs, seed=i) for i in range(n_models)]
    with torch.no_grad():
        held_out = torch.from_numpy(x[~learn]).float()
        right = [float((network(held_out).argmax(1).numpy() == y[~learn]).mean()) for network in networks]
    print(f"{n_models} networks; held-out accuracy {np.mean(right):.3f}, from {min(right):.3f} to {max(right):.3f}\n")
    for as_published in (True, False):
        began = time.process_time()
        found = protocol(
            networks, expression[~learn], as_published=as_published, labels=tissue[~learn], classes=TISSUES,
            explainers=EXPLAINERS, background=expression[learn], lists=lists, top=N_MARKERS, n_draws=3, most_samples=24,
        )  # fmt: skip
        print(f"{found.words()}\n{time.process_time() - began:.0f} s of one core\n", flush=True)
        folder = output / ("as-published" if as_published else "default")
        write_agreement(folder, found)
        for name, table in found.tables().items():
            table.to_csv(folder / f"{name}.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/zhao"))
