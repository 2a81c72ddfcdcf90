#!/usr/bin/env python3
"""The measuring parts of scripts/h200.sh, which calls this: errors, speed, ring and step.

Ours is the built command train; the peer is PyTorch in this process, in the same minutes on the same card. Needs Python 3.9, and for
the peer PyTorch 2.5 with CUDA. A part prints its table, and leaves it as PART.md and its figures as PART.json in the folder --out.
Lines that begin with SKIPPED and FAILED are for h200.sh to count.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import time

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # ranks and PyTorch on the same card, though there may be several

ARITHMETIC = {"bfloat16": "bf16", "float16": "f16", "float32": "f32"}
TENSORS = ("out", "dq", "dk", "dv")
PEERS = ("FlashAttention-2", "cuDNN", "plain")  # as h200_torch.py names them
TAX = 1.03  # what eight ranks on one card may keep it busy longer than one call


@dataclasses.dataclass(frozen=True)
class Shape:
    tokens: int
    dim: int
    heads: int
    kv_heads: int
    causal: bool

    def __str__(self):
        heads = f"{self.heads}" if self.heads == self.kv_heads else f"{self.heads}/{self.kv_heads}"
        return f"n {self.tokens:,} d {self.dim} h {heads} {'causal' if self.causal else 'full'}"

    def flops(self):
        """Operations of the passes; causal order leaves half."""
        forward = 4 * self.tokens**2 * self.dim * self.heads * (0.5 if self.causal else 1)
        return {"forward": forward, "backward": 2.5 * forward}

    def flags(self):
        flags = {"seq": self.tokens, "head-dim": self.dim, "heads": self.heads, "kv-heads": self.kv_heads}
        return [x for name, value in flags.items() for x in (f"--{name}", str(value))] + ["--causal"] * self.causal


class Trouble(Exception):
    """What train says instead of figures."""


class Part:
    """One run of this script: how train is called, what time is left, and where the table goes."""

    def __init__(self, flags):
        self.flags, self.tiny, self.end = flags, flags.sizes == "tiny", time.monotonic() + flags.seconds

    def peer(self):
        """The module of PyTorch, if there is one that can be measured: with a GPU, or anyhow where these scripts are only tested."""
        try:
            import h200_torch as peer  # noqa: PLC0415 # loading it takes seconds, and not all parts need it
        except ImportError as err:
            skip(f"{self.flags.part} of PyTorch: {err}; pip install torch (2.5 or later, with CUDA)")
            return None
        if peer.place() != "cuda" and not self.tiny:
            skip(f"{self.flags.part} of PyTorch: {peer.versions()} finds no GPU; install a build with CUDA: pip install torch")
            return None
        return peer

    def left(self):
        return self.end - time.monotonic()

    def train(self, *arguments):
        command = [self.flags.train, *map(str, arguments), "--json"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=max(self.left(), 1))
        except subprocess.TimeoutExpired:
            raise Trouble(f"no time was left for {' '.join(command[1:])}") from None
        try:
            document = json.loads(done.stdout)
        except ValueError:
            raise Trouble(f"status {done.returncode}: {done.stderr.strip()[-600:]}") from None
        if "error" in document:
            raise Trouble(document["error"])
        return document

    def trouble(self, what, err):
        """The simulator may lack kernels; a GPU may not."""
        if "no time was left" in str(err):
            skip(f"{what}: {err}; run it alone with --only")
        elif self.flags.device == "sim" and "not supported" in str(err):
            skip(f"{what}: {err}")
        else:
            fail(f"{what}: {err}")

    def write(self, title, header, rows, notes, figures):
        rule = ["---"] + ["---:"] * (len(header) - 1)
        table = "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])
        text = f"### {title}\n\n{table}\n\n{' '.join(notes)}\n"
        print(f"\n{text}", end="", flush=True)
        out = pathlib.Path(self.flags.out)
        (out / f"{self.flags.part}.md").write_text(text)
        (out / f"{self.flags.part}.json").write_text(json.dumps(figures, indent=1))


def skip(text):
    print(f"SKIPPED: {text}", flush=True)


def fail(text):
    print(f"FAILED: {text}", flush=True)


# --- errors -----------------------------------------------------------------------------------------------------------------------------


def error_cases(part):
    if part.tiny:
        return {"causal_100_d64": Shape(100, 64, 2, 1, True)}
    return {
        "causal_512_d64": Shape(512, 64, 4, 4, True),
        "causal_1000_d128": Shape(1000, 128, 4, 4, True),
        "full_1000_d64": Shape(1000, 64, 4, 4, False),
        "full_512_d128": Shape(512, 128, 4, 4, False),
        "causal_1000_d64_gqa": Shape(1000, 64, 8, 2, True),
        "causal_512_d128_gqa": Shape(512, 128, 8, 2, True),
    }


def tensors(found):
    """Errors as a cell: out dq dk dv; or that there are none."""
    return " ".join(f"{found[n]:.1e}".replace("e-0", "e-") for n in TENSORS) if isinstance(found, dict) else "–"


def part_errors(part):
    peer = part.peer()
    if peer is None:
        return
    folder = pathlib.Path(part.flags.out) / "golden"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.safetensors"):
        old.unlink()
    cases = error_cases(part)
    made = {name: peer.golden(folder / f"{name}.safetensors", shape, seed) for seed, (name, shape) in enumerate(cases.items())}
    rows, figures = [], []
    for dtype in ARITHMETIC:
        try:
            report = part.train("gradcheck", "--golden", folder, "--device", part.flags.device, "--ring", 1, "--layout", "zigzag", "--dtype", dtype)
        except Trouble as err:
            part.trouble(f"errors in {dtype}", err)
            continue
        for case in report["cases"]:
            figures.append(error_figures(part, peer, case, cases[case["case"]], made[case["case"]]))
            rows += [error_cells(cases[case["case"]], figures[-1])] if "ours" in figures[-1] else []
    notes = [
        "Largest error over the largest entry, of out, dq, dk and dv, against PyTorch in float64, on inputs that bfloat16 has.",
        "Plain is PyTorch's einsum and softmax in the type itself; the last column is ours over its error, of the tensor where that is worst,",
        "and should be at most 2 (FlashAttention's rule). PyTorch rounds its results to the type, ours are float32.",
        f"{peer.versions()}.",
    ]
    part.write("Errors", ["case", "type", "ours", *PEERS, "ours ÷ plain"], rows, notes, figures)


def error_figures(part, peer, case, shape, made):
    """Ours and the peers' errors of a case. In float32 luck decides about a factor of two, and the limit of gradcheck is what counts."""
    dtype, name = case["dtype"], f"{case['case']} in {case['dtype']}"
    figures = {"case": case["case"], "dtype": dtype, "peers": peer.errors(*made, shape.causal, dtype)}
    if "max_rel" not in case:
        part.trouble(name, Trouble(case.get("error", "no figures")))
        return figures
    ours, plain = case["max_rel"], figures["peers"]["plain"]
    if isinstance(plain, str):
        fail(f"{name}: plain PyTorch: {plain}")
        return figures
    worst = max(ours[n] / max(plain[n], 1e-12) for n in TENSORS)
    if not case["ok"]:
        fail(f"{name}: errors {ours} are over the limit {case['limit']}")
    if worst > 2 and dtype != "float32":
        fail(f"{name}: {worst:.2f} times the error of plain PyTorch, want at most 2")
    return {**figures, "ours": ours, "ours_over_plain": worst}


def error_cells(shape, f):
    return [str(shape), ARITHMETIC[f["dtype"]], tensors(f["ours"]), *(tensors(f["peers"][p]) for p in PEERS), f"{f['ours_over_plain']:.2f}"]


# --- speed ------------------------------------------------------------------------------------------------------------------------------


def speed_rows(part):
    """Shapes with their types, what matters most first: time may be up before the last."""
    if part.tiny:
        return [(Shape(100, 64, 2, 1, True), "float32"), (Shape(100, 64, 2, 2, True), "bfloat16")]
    rows = []
    for tokens in (16384, 8192, 2048, 32768):
        for dim, heads, kv_heads in ((128, 16, 16), (64, 16, 16), (128, 64, 8)):
            if heads == 64 and tokens not in (8192, 16384):
                continue
            rows += [(Shape(tokens, dim, heads, kv_heads, causal), "bfloat16") for causal in (True, False)]
        if tokens == 8192:
            rows.append((Shape(tokens, 128, 16, 16, True), "float16"))
    return rows + [(Shape(8192, dim, 16, 16, True), "float32") for dim in (64, 128)]


def bench(part, shape, dtype, *more):
    rounds = 1 if part.tiny else 3 if shape.tokens * shape.heads > 400_000 else 7
    return part.train("bench", "attention", *shape.flags(), "--dtype", dtype, "--device", part.flags.device, "--rounds", rounds, *more)["results"]


def short(x):
    """Three digits at least."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def tera(flops, seconds):
    return flops / seconds / 1e12


def part_speed(part):
    peer = part.peer()
    figures, card, todo = [], "", speed_rows(part)
    trace = pathlib.Path(part.flags.out) / "speed_trace.json"
    for i, (shape, dtype) in enumerate(todo):
        if part.left() < 5:
            skip(f"speed: no time was left for the last {len(todo) - i} of {len(todo)} shapes; run it alone with --only speed")
            break
        ours, theirs = {}, {}
        try:
            for r in bench(part, shape, dtype, "--trace", trace):
                ours[r["pass"]], card = {**r, "kernel_ms": traced(trace, r["pass"])}, r["isa"]
        except Trouble as err:
            part.trouble(f"{shape} in {dtype}", err)
        if peer and dtype != "float32":
            theirs = peer.times(shape, dtype, 2 if part.tiny else 10)
        for which, flops in shape.flops().items():
            figures.append(speed_figures(shape, dtype, which, flops, ours, theirs))
            figures[-1]["one_card"] = bool(peer) and peer.place() == "cuda"
            print(" | ".join(speed_cells(figures[-1])), flush=True)
    header = ["shape", "type", "pass", "ours, ms", "ours", "its kernel", *PEERS[:2], "ours ÷ FA2", "ours ÷ cuDNN"]
    part.write("TFLOP/s", header, [speed_cells(f) for f in sorted(figures, key=in_order)], speed_notes(part, peer, card, figures), figures)


def in_order(f):
    """The table's order: types, heads, widths, causal before full, lengths, forward before backward."""
    s = f["shape"]
    return list(ARITHMETIC).index(f["dtype"]), s["heads"], s["dim"], not s["causal"], s["tokens"], f["pass"] == "backward"


def traced(path, name):
    """Milliseconds of the kernel of that name in a trace."""
    return sum(e.get("dur", 0) for e in json.loads(path.read_text())["traceEvents"] if e["name"] == name) / 1e3


def speed_figures(shape, dtype, which, flops, ours, theirs):
    """TFLOP/s of a pass: ours from the first to the last operation on the device, that of the kernel alone; and the peers'."""
    f = {"shape": dataclasses.asdict(shape), "dtype": dtype, "pass": which, "why_not": {n: t for n, t in theirs.items() if isinstance(t, str)}}
    if which in ours:
        r = ours[which]
        f |= {"ms": r["wall_ms"], "ours": tera(flops, r["wall_ms"] / 1e3), "kernel": tera(flops, max(r["kernel_ms"], 1e-6) / 1e3)}
    return f | {name: tera(flops, t[which]) for name, t in theirs.items() if isinstance(t, dict)}


def speed_cells(f):
    def cell(name, over=None):
        if name not in f or over is not None and not (over in f and f["one_card"]):
            return "–"
        return f"{f[name] / f[over]:.2f}" if over else short(f[name])

    return [
        str(Shape(**f["shape"])), ARITHMETIC[f["dtype"]], f["pass"], cell("ms"), cell("ours"), cell("kernel"), cell("FlashAttention-2"), cell("cuDNN"),
        cell("ours", "FlashAttention-2"), cell("ours", "cuDNN"),
    ]


def speed_notes(part, peer, card, figures):
    notes = [
        f"TFLOP/s on {card}: 4·T²·D·H operations forward, half of that when causal, 2.5 times that backward.",
        "Times are medians by events on the device. Ours is from the start of the pass's first kernel to the end of its last, with finish or delta,",
        "and without copies to and from the host; its kernel is that of attention alone, in the last round.",
    ]
    if part.flags.device != "cuda":
        notes.append("The simulator counts instructions: nothing here says anything about a GPU.")
    if peer:
        notes.append(f"{peer.versions()}.")
        if peer.place() == "cuda":
            notes.append(f"A bfloat16 product of matrices of 8,192 runs at {peer.matmul_rate() / 1e12:.0f}.")
    for why in sorted({f"{name}: {why}" for f in figures for name, why in f["why_not"].items()}):
        notes.append(f"{why}.")
    return notes


# --- ring -------------------------------------------------------------------------------------------------------------------------------


def part_ring(part):
    """Eight logical ranks on the card, each with its share of queries, against one call."""
    shapes = [Shape(32768, 128, 16, 16, True), Shape(16384, 128, 16, 16, True), Shape(32768, 64, 16, 16, True)]
    sizes, dtype = "1,8", "bfloat16"
    if part.tiny:
        shapes, sizes, dtype = [Shape(64, 64, 1, 1, True)], "1,2", "float32"
    rows, figures = [], []
    trace = pathlib.Path(part.flags.out) / "ring_trace.json"
    for shape in shapes:
        if part.left() < 5:
            skip(f"ring of {sizes} over {shape}: no time was left; run it alone with --only ring")
            continue
        try:
            found = bench(part, shape, dtype, "--ring", sizes, "--layout", "zigzag", "--trace", trace)
        except Trouble as err:
            part.trouble(f"ring of {sizes} over {shape}", err)
            continue
        alone = {r["pass"]: r for r in found if r["ring"] == 1}
        for r in (r for r in found if r["ring"] > 1):
            tax, one = r["busy_over_one"], alone[r["pass"]]
            rows.append([
                str(shape), r["pass"], short(one["busy_ms"]), str(r["ring"]), short(r["busy_ms"]), short(r["wall_ms"]),
                f"{tax:.3f}", "yes" if tax <= TAX else "**no**",
            ])
            figures.append({"shape": dataclasses.asdict(shape), "one": one, "ring": r})
    header = ["shape", "pass", "one call, busy ms", "ranks", "busy ms", "wall ms", "busy ÷ one's", f"≤ {TAX}"]
    notes = [f"{ARITHMETIC[dtype]}, zigzag, all ranks on one card, so that nothing is hidden by another: what cutting the sequence costs.",
             "Where only the ranks' kernels overlap on the card, busy time counts once."]
    part.write("What cutting costs", header, rows, notes, figures)


# --- step -------------------------------------------------------------------------------------------------------------------------------


def part_step(part):
    """A training step of configs/long.yaml on random weights and tokens, attention on the card and all else on the CPU, beside the CPU."""
    short = ["--set", "sequence_len=64", "--set", "context_parallel_size=2"] if part.tiny else []
    rows, figures = [], []
    for device, dtype in [(part.flags.device, "bfloat16"), (part.flags.device, "float32"), ("cpu", "float32")]:
        sets = [*short, "--set", "loss_by_position=false", "--set", f"device={device}", "--set", f"attention_dtype={dtype}"]
        try:
            r = part.train("bench", "step", "--config", "configs/long.yaml", "--random", "--rounds", 1 if part.tiny else 3, *sets)["results"][0]
        except Trouble as err:
            part.trouble(f"step on {device} in {dtype}", err)
            continue
        attention = next(p["share"] for p in r["parts"] if p["part"] == "attention")
        rows.append([f"{device}, attention in {ARITHMETIC[dtype]}", f"{r['wall_ms'] / 1e3:.2f}", f"{r['tokens_per_second']:,.0f}", f"{attention:.0%}"])
        figures.append({**r, "device": device, "attention_dtype": dtype})
    on_cpu = [f["tokens_per_second"] for f in figures if f["device"] == "cpu"]
    for row, f in zip(rows, figures):
        row.append(f"{f['tokens_per_second'] / statistics.median(on_cpu):.1f}" if on_cpu else "–")
    size = "64 tokens over a ring of 2" if part.tiny else "16,384 tokens over a ring of 4"
    notes = [f"`train bench step --config configs/long.yaml --random`: {size} ranks, all on one card."]
    part.write("A step of configs/long.yaml", ["where", "s", "tokens/s", "of it attention", "over the CPU's"], rows, notes, figures)


def main():
    parts = {"errors": part_errors, "speed": part_speed, "ring": part_ring, "step": part_step}
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("part", choices=parts)
    parser.add_argument("--train", required=True, help="the built command, with the tag ringcuda")
    parser.add_argument("--device", default="cuda", choices=["cuda", "sim"])
    parser.add_argument("--sizes", default="full", choices=["full", "tiny"])
    parser.add_argument("--out", default="build/h200", help="a folder for tables and figures")
    parser.add_argument("--seconds", type=float, default=300, help="time after which rows are left out")
    part = Part(parser.parse_args())
    parts[part.flags.part](part)


if __name__ == "__main__":
    main()
