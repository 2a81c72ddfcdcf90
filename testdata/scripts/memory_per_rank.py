#!/usr/bin/env python3
"""Draws the memory that a rank takes for attention, forward and backward, against the size of the ring.

    python3 testdata/scripts/memory_per_rank.py --write docs/memory_per_rank.png

Measured, with the sequence the same everywhere and a process for every point:
- ringgrad: `train bench memory`, the growth of a process that runs the whole ring, over the number of its ranks;
- PyTorch's dense math path, as a rank that has gathered all keys takes it: T/W queries by T keys, the growth of the process.

Needs Python 3.10, Go, and PyPI the first time, as performance.py beside it. Prints the figures as a Markdown table.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from performance import ROOT, built_train, peers_python

RINGS = [1, 2, 4, 8, 16]
DENSE = """
import resource, sys, torch
from torch.nn.attention import SDPBackend, sdpa_kernel
rows, keys, heads, d = map(int, sys.argv[1:])
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
def run(rows, keys):
    q, k, v = (torch.randn(1, heads, n, d, requires_grad=True) for n in (rows, keys, keys))
    with sdpa_kernel([SDPBackend.MATH]):
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    out.backward(torch.randn_like(out))
run(8, 8)  # what PyTorch itself takes
before = peak()
run(rows, keys)
print(peak() - before)
"""


def ours(train, shape, ring):
    report = subprocess.run(
        [train, "bench", "memory", "--json", "--seq", str(shape.seq), "--heads", str(shape.heads), "--head-dim", str(shape.head_dim), "--ring", str(ring)],
        cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(report.stdout)["rank_bytes"]


def dense(python, shape, ring):
    sizes = [shape.seq // ring, shape.seq, shape.heads, shape.head_dim]
    return int(subprocess.run([python, "-c", DENSE, *map(str, sizes)], check=True, capture_output=True, text=True).stdout)


def draw(python, path, shape, figures):
    """In a process of the peers' Python, which has matplotlib."""
    subprocess.run([python, __file__, "--draw", str(path)], input=json.dumps({"shape": vars(shape), "figures": figures}), text=True, check=True)


def drawn(path, shape, figures):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter

    figure, axes = plt.subplots(figsize=(7.2, 4.6), dpi=110)
    mib = {name: [b / 2**20 for b in line] for name, line in figures.items()}
    axes.plot(RINGS, mib["dense"], "s-", color="#b35806", label="PyTorch, dense math: T/W queries by T keys")
    axes.plot(RINGS, mib["ours"], "o-", color="#2166ac", label="ringgrad: ring attention")
    axes.plot(RINGS, [mib["ours"][-1] * RINGS[-1] / w for w in RINGS], ":", color="#555555", label="proportional to T/W")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    plain = FuncFormatter(lambda x, _: f"{x:,.0f}")
    axes.xaxis.set_major_formatter(plain)
    axes.yaxis.set_major_formatter(plain)
    axes.set_xlabel("ranks W")
    axes.set_ylabel("MiB a rank")
    axes.set_title(f"Memory of attention, forward and backward: T = {shape['seq']:,}, {shape['heads']} heads of {shape['head_dim']}, float32", fontsize=10)
    axes.grid(True, which="major", color="#dddddd")
    axes.legend(frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seq", type=int, default=8192)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--write", type=pathlib.Path, default=pathlib.Path("memory_per_rank.png"), help="where the picture goes")
    parser.add_argument("--draw", type=pathlib.Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.draw:
        drawn(flags.draw, **json.load(sys.stdin))
        return
    shape = argparse.Namespace(seq=flags.seq, heads=flags.heads, head_dim=flags.head_dim)
    train, python = built_train(), peers_python()
    figures = {"ours": [], "dense": []}
    print("| W | T/W | ringgrad, MiB a rank | PyTorch dense, MiB a rank | ratio |\n| ---: | ---: | ---: | ---: | ---: |", flush=True)
    for ring in RINGS:
        mine, theirs = ours(train, shape, ring), dense(python, shape, ring)
        figures["ours"].append(mine)
        figures["dense"].append(theirs)
        print(f"| {ring} | {shape.seq // ring:,} | {mine / 2**20:,.1f} | {theirs / 2**20:,.1f} | {theirs / mine:.1f} |", flush=True)
    draw(python, flags.write.resolve(), shape, figures)


if __name__ == "__main__":
    main()
