"""The rows of docs/performance.md: what performance.py runs, what is taken from it, and what is wanted."""

import dataclasses

LIMITS = {"fma_peak": "FMA peak", "gemm_loop": "GEMM loop", "memory": "memory"}


@dataclasses.dataclass
class Line:
    """A line of a table. A ratio is ours over the other."""

    key: str
    name: str
    ours: float
    unit: str
    against: str
    other: float
    least: float | None  # the ratio that is wanted at least (at most where lower is better)
    aim: float | None
    result: dict  # of train bench, for the roofline
    ratio: float | None = None
    lower: bool = False
    rounds: int = 0
    ceiling: float | None = None
    of_ceiling: float | None = None

    def __post_init__(self):
        if self.ratio is None:
            self.ratio = self.ours / self.other
        self.isa = self.result["isa"]
        self.ceiling, self.of_ceiling = self.result["roofline"]["ceiling"], self.result["of_ceiling"]

    def reached(self):
        return self.ratio <= self.least if self.lower else self.ratio >= self.least

    def roofline(self):
        r = self.result["roofline"]
        return (
            f"{number(r['flops'] / 1e9)} Gflop, {number(r['bytes'] / 1e6)} MB, {r['intensity']:.0f} flop/B; "
            f"{LIMITS[r['limit']]} {self.ceiling:.0f}, attained {self.of_ceiling:.2f}{self.edges()}{self.split()}"
        )

    def edges(self):
        """What the tiles at a mask's edges add."""
        pairs = self.result.get("computed_over_visible")
        return "" if pairs is None else f"; {pairs:.3f} pairs computed a visible one"

    def split(self):
        """Where a step's time goes."""
        parts = sorted(self.result.get("parts", []), key=lambda p: -p["share"])
        return "".join(f", {p['part'].replace('_', ' ')} {100 * p['share']:.1f} %" for p in parts)

    def figures(self):
        return {name: getattr(self, name) for name in ("ours", "unit", "against", "other", "ratio", "least", "aim", "lower", "rounds")} | {
            "result": self.result
        }


def number(x):
    return f"{x:.3g}" if x < 1000 else f"{x:,.0f}"


@dataclasses.dataclass
class Row:
    """Commands of ours and a request to peers.py, and how lines come of what they answer."""

    name: str
    ours: list  # arguments of train bench, one list a command
    lines: object  # a function of the reports and the answer
    peer: dict | None = None
    rounds: int = 7  # at most
    environment: dict = dataclasses.field(default_factory=dict)
    fresh: bool = False  # the peer's process ends after the row
    apart: bool = False  # and after every round


@dataclasses.dataclass
class Group:
    key: str
    title: str
    rows: list
    default: bool = True


PASSES = ("forward", "backward")


def shape(n, d, heads, kv_heads=None, causal=False, dtype="float32"):
    return {"what": "attention", "n": n, "d": d, "heads": heads, "kv_heads": kv_heads or heads, "causal": causal, "dtype": dtype}


def attention_arguments(s, rings=(1,)):
    arguments = [
        "attention",
        "--seq",
        s["n"],
        "--head-dim",
        s["d"],
        "--heads",
        s["heads"],
        "--kv-heads",
        s["kv_heads"],
        "--dtype",
        s["dtype"],
    ]
    return [str(a) for a in arguments] + ["--ring", ",".join(map(str, rings))] + (["--causal"] if s["causal"] else [])


def describe(s):
    heads = f"{s['heads']}" if s["heads"] == s["kv_heads"] else f"{s['heads']}/{s['kv_heads']}"
    dtype = "" if s["dtype"] == "float32" else f" {s['dtype']}"
    return f"n {s['n']:,} d {s['d']} h {heads} {'causal' if s['causal'] else 'full'}{dtype}"


def of_ceiling(key, name, r, wanted, figure="of_ceiling", against=None):
    """A result's rate by processor time against the ceiling."""
    against = against or LIMITS[r["roofline"]["limit"]]
    return Line(
        f"{key} ceiling",
        name,
        r["gflops_per_core_second"],
        "GF/core-s",
        against,
        r["gflops_per_core_second"] / r[figure],
        *wanted,
        r,
        r[figure],
    )


def attention(s, ceiling=None, peer=None, environment=None, rounds=7, figure="of_ceiling", against=None):
    """Attention of a shape. ceiling and peer are what is wanted of both passes: ((least, aim), (least, aim)); None: not compared."""
    key = describe(s) + (" " + environment["RINGGRAD_ISA"] if environment else "")

    def lines(reports, answer):
        out = []
        for name, r, i in zip(PASSES, reports[0]["results"], range(2)):
            at, label = f"{key} {name}", f"{describe(s)}, {name}"
            if ceiling:
                out.append(of_ceiling(at, label, r, ceiling[i], figure, against))
            if peer:
                out.append(
                    Line(f"{at} pytorch", label, r["gflops"], "GF/s", "PyTorch", r["roofline"]["flops"] / answer[name] / 1e9, *peer[i], r)
                )
        return out

    return Row(describe(s), [attention_arguments(s)], lines, s if peer else None, rounds, environment or {})


def ring_busy():
    s = shape(16384, 64, 4, causal=True)

    def lines(reports, _):
        busy = {ring: [r["busy_ms"] / 1e3 for r in reports[0]["results"] if r["ring"] == ring] for ring in (1, 8)}
        results = [r for r in reports[0]["results"] if r["ring"] == 8]
        out = [
            Line(f"ring {r['pass']}", f"8 ranks of 2,048, zigzag, {r['pass']}", b8, "s busy", "one call", b1, None, None, r, lower=True)
            for r, b8, b1 in zip(results, busy[8], busy[1])
        ]
        out.append(Line("ring", "both passes", sum(busy[8]), "s busy", "one call", sum(busy[1]), 1.03, 1.01, results[1], lower=True))
        return out

    return Row("ring of 8", [attention_arguments(s, (1, 8))], lines)


def lucid(causal, wanted):
    s = shape(4096, 64, 8, causal=causal)
    name = f"ring of 4, {describe(s)}, both passes"

    def lines(reports, answer):
        ours = sum(r["wall_ms"] for r in reports[0]["results"]) / 1e3
        theirs = answer["forward"] + answer["backward"]
        return [Line(name, name, ours, "s", "lucidrains", theirs, *wanted, reports[0]["results"][1], theirs / ours)]

    return Row(
        name,
        [attention_arguments(s, (4,))],
        lines,
        {"what": "ring", "ranks": 4, "n": 4096, "d": 64, "heads": 8, "causal": causal},
        fresh=True,
    )


def product(size):
    def lines(reports, answer):
        r = reports[0]["results"][0]
        return [
            Line(
                f"sgemm {size}",
                f"sgemm {size:,}³",
                r["gflops"],
                "GF/s",
                "PyTorch",
                r["roofline"]["flops"] / answer["seconds"][0] / 1e9,
                0.97,
                1.05,
                r,
            )
        ]

    arguments = ["matmul", "--m", str(size), "--n", str(size), "--k", str(size)]
    return Row(f"sgemm {size}", [arguments], lines, {"what": "matmul", "products": [[size, size, size, "nn"]]})


TINY = {
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 384,
    "vocab_size": 256,
}
MIDDLE = {
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 1408,
    "vocab_size": 32000,
}
HALF = {
    "hidden_size": 896,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "intermediate_size": 4864,
    "vocab_size": 151936,
}


def run_of(model, tokens):
    """Arguments that make configs/base.yaml a run of another model, on one sequence a step."""
    keys = {"model_type": "llama", "tie_word_embeddings": "true", "max_position_embeddings": tokens, **model}
    flow = "{" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"
    settings = [f"model={flow}", f"sequence_len={tokens}", "micro_batch_size=1"]
    return ["--config", "configs/base.yaml", *(a for s in settings for a in ("--set", s))]


def layers(name, model, tokens):
    """Every product of a layer. The request names them as train bench does, so that both compute the same ones."""
    queries = model["hidden_size"]
    keys = queries // model["num_attention_heads"] * model["num_key_value_heads"]
    linears = [(queries, queries), (queries, keys), (queries, model["intermediate_size"]), (model["intermediate_size"], queries)]
    sizes = [(tokens, i, o) for i, o in linears]
    sizes.append((min(tokens, min(max((1 << 22) // model["vocab_size"], 64), 1024)), queries, model["vocab_size"]))
    products = [p for rows, i, o in sizes for p in ([rows, o, i, "nt"], [rows, i, o, "nn"], [o, i, rows, "tn"])]

    def lines(reports, answer):
        results = reports[0]["results"]
        got = [[r["m"], r["n"], r["k"], r["trans"]] for r in results]
        if got != products:
            raise RuntimeError(f"train bench matmul measures {got}, the peer {products}")
        return [
            Line(
                f"{name} {r['layer']} {r['trans']}",
                f"{name}: {r['layer']} {r['trans']}, {r['m']:,} {r['n']:,} {r['k']:,}",
                r["gflops"],
                "GF/s",
                "PyTorch",
                r["roofline"]["flops"] / taken / 1e9,
                0.97,
                1.05,
                r,
            )
            for r, taken in zip(results, answer["seconds"])
        ]

    return Row(name, [["matmul", *run_of(model, tokens)]], lines, {"what": "matmul", "products": products})


def step(name, model, tokens, speed, memory, rounds, apart=False):
    """A training step against Hugging Face's: tokens a second, and the peak of memory."""

    def lines(reports, answer):
        r = reports[0]["results"][0]
        label = f"{name}, T {tokens:,}"
        gb = r["peak_memory_bytes"] / 1e9
        own = next(100 * p["share"] for p in r["parts"] if p["part"] == "gorgonia")
        return [
            Line(
                f"{label} speed", label, r["tokens_per_second"], "tokens/s", "Hugging Face", answer["tokens"] / answer["seconds"], *speed, r
            ),
            Line(
                f"{label} memory",
                f"{label}, peak memory",
                gb,
                "GB",
                "Hugging Face",
                answer["peak_memory_bytes"] / 1e9,
                *memory,
                r,
                lower=True,
            ),
            Line(f"{label} gorgonia", f"{label}, gorgonia's own time", own, "%", "the limit, %,", 3, 1, 1, r, lower=True),
        ]

    return Row(
        f"{name} at {tokens}",
        [["step", "--random", *run_of(model, tokens)]],
        lines,
        {"what": "step", "tokens": tokens, "model": model},
        rounds,
        fresh=True,
        apart=apart,
    )


def long_step():
    """0.5B at 16,384 tokens: its memory against what is there, and against the estimate."""

    def lines(reports, _):
        r = reports[0]["results"][0]
        gb = r["peak_memory_bytes"] / 1e9
        return [
            Line("half 16384 memory", "0.5B, T 16,384, peak memory", gb, "GB", "the limit, GB,", 13, 1, 0.85, r, lower=True),
            Line("half 16384 estimate", "the same", gb, "GB", "train estimate", r["estimated_memory_bytes"] / 1e9, 1.05, 1, r, lower=True),
            Line(
                "half 16384 speed",
                "its speed",
                r["tokens_per_second"],
                "tokens/s",
                "ceiling",
                r["tokens_per_second"] / r["of_ceiling"],
                None,
                None,
                r,
            ),
        ]

    return Row("0.5B at 16384", [["step", "--random", *run_of(HALF, 16384)]], lines, rounds=1)


def bfloat16(causal):
    s, plain = shape(2048, 64, 8, causal=causal, dtype="bfloat16"), shape(2048, 64, 8, causal=causal)

    def lines(reports, answer):
        out = []
        for name, half, full in zip(PASSES, reports[0]["results"], reports[1]["results"]):
            label, least = f"{describe(s)}, {name}", 2.5 if half["isa"] == "amx" else 1.6
            out.append(
                Line(
                    f"{label} float32",
                    label,
                    half["gflops_per_core_second"],
                    "GF/core-s",
                    "our float32",
                    full["gflops_per_core_second"],
                    least,
                    least,
                    half,
                )
            )
            out.append(
                Line(
                    f"{label} pytorch",
                    label,
                    half["gflops"],
                    "GF/s",
                    "PyTorch's",
                    half["roofline"]["flops"] / answer[name] / 1e9,
                    1.5,
                    1.5,
                    half,
                )
            )
        return out

    return Row(describe(s), [attention_arguments(s), attention_arguments(plain)], lines, s)


def float64(isa):
    """float64 against float32 on one instruction set."""
    double, single = (shape(2048, 64, 8, dtype=t) for t in ("float64", "float32"))
    products = [["matmul", "--m", "1024", "--n", "1024", "--k", "1024", "--dtype", t] for t in ("float64", "float32")]

    def lines(reports, _):
        out = []
        for first, second in (reports[:2], reports[2:]):
            for d, f in zip(first["results"], second["results"]):
                name = f"{describe(double)}, {d['pass']}, {isa}" if d["pass"] != "matmul" else f"1,024³ float64, {isa}"
                out.append(Line(name, name, d["gflops_per_core_second"], "GF/core-s", "float32", f["gflops_per_core_second"], 0.5, 0.5, d))
        return out

    return Row(
        f"float64 {isa}", [attention_arguments(double), attention_arguments(single), *products], lines, environment={"RINGGRAD_ISA": isa}
    )


def time_lines(label, results, wanted):
    """Of each pass the processor time for a visible pair over that of causal attention, or over that with keys and values travelling."""
    out = []
    for name, r, (least, aim) in zip(PASSES, results, wanted):
        against, ratio = ("causal", r["over_causal"]) if "over_causal" in r else ("pass-KV", r["over_kv"])
        other = r["against"]["gflops_per_core_second"]
        out.append(
            Line(
                f"{label} {name}",
                f"{label}, {name}",
                r["gflops_per_core_second"],
                "GF/core-s",
                against,
                other,
                least,
                aim,
                r,
                ratio,
                lower=True,
            )
        )
    return out


def masked(label, s, options, most=None, ring=1, rounds=7):
    """Attention with options beside plain causal attention, round by round. most is the ratio of times that is wanted of both passes."""
    arguments = [*attention_arguments(s, (ring,)), *options, *([] if "--against" in options else ["--against", "causal"])]
    return Row(label, [arguments], lambda reports, _: time_lines(label, reports[0]["results"], ((most, most),) * 2), rounds=rounds)


def dealt(label, s, options, ring, rounds):
    """Documents of random lengths in the balanced layout, and how much more its largest rank sees than the mean, beside zigzag."""
    layouts = [[*attention_arguments(s, (ring,)), *options, "--against", "causal", "--layout", name] for name in ("balanced", "zigzag")]

    def lines(reports, _):
        balanced, zigzag = (report["results"] for report in reports)
        largest, other = balanced[0]["largest_rank_over_mean"], zigzag[0]["largest_rank_over_mean"]
        return [
            *time_lines(f"{label}, balanced", balanced, UNASKED),
            *time_lines(f"{label}, zigzag", zigzag, UNASKED),
            Line(
                f"{label} largest",
                f"{label}, largest rank",
                largest,
                "of the mean",
                "zigzag",
                other,
                None,
                None,
                zigzag[1],
                largest,
                lower=True,
            ),
        ]

    return Row(label, layouts, lines, rounds=rounds)


def mask_rows():
    long = shape(16384, 64, 4, causal=True)
    documents, window = ["--documents", "16"], ["--window-left", "1023"]
    rows = [
        masked("16 documents in 16K, ring of 4", long, documents, 1.1, 4, 3),
        masked("16 documents in 16K, ring of 1", long, documents, rounds=3),
        masked("one document of 1,024", shape(1024, 64, 4, causal=True), ["--against", "causal", "--against-seq", "16384"], rounds=3),
        masked("window 1,024 in 16K, ring of 4", long, window, 1.2, 4, 3),
        masked("window 1,024 in 16K, ring of 1", long, window, rounds=3),
    ]
    for d, heads in ((64, 8), (128, 4)):
        s = shape(4096, d, heads, causal=True)
        for name, options, most in (
            ("softcap", ["--softcap", "30"], 1.25),
            ("ALiBi", ["--alibi"], 1.1),
            ("sinks", ["--sinks"], 1.02),
            ("dropout 0.1", ["--dropout", "0.1"], 1.3),
        ):
            rows.append(masked(f"{name}, n 4,096 d {d}", s, options, most))
    return [
        *rows,
        masked("16 documents in 16K, ring of 8", long, documents, 1, 8, 3),
        dealt("32 random documents in 16K, ring of 8", long, ["--documents-random", "32"], 8, 3),
        masked("pass-Q, causal 16K, ring of 4", long, ["--travel", "q", "--against", "kv"], ring=4, rounds=3),
    ]


FULL_CEILING = ((0.88, 0.93), (0.90, 0.94))
CAUSAL_CEILING = ((0.84, 0.90), (0.86, 0.90))
UNASKED = ((None, None), (None, None))

GROUPS = [
    Group(
        "attention",
        "Attention, full",
        [
            attention(shape(2048, 64, 8), FULL_CEILING, ((1.3, 1.4), (1.4, 1.5))),
            attention(shape(2048, 128, 4), FULL_CEILING, ((1.2, 1.3), (1.3, 1.4))),
            attention(shape(8192, 64, 8), FULL_CEILING, ((1.3, 1.4), (1.4, 1.5)), rounds=3),
        ],
    ),
    Group(
        "causal",
        "Attention, causal",
        [
            attention(shape(2048, 64, 8, causal=True), CAUSAL_CEILING, ((1.5, 1.7), (1.6, 1.9))),
            attention(shape(2048, 128, 4, causal=True), CAUSAL_CEILING, ((1.4, 1.6), (1.5, 1.8))),
            attention(shape(8192, 64, 8, causal=True), UNASKED, ((1.5, 1.7), (1.6, 1.9)), rounds=3),
        ],
    ),
    Group(
        "short",
        "Short sequences",
        [
            attention(shape(256, 64, 8, causal=True), ((0.65, 0.8), (0.65, 0.8))),
            attention(shape(512, 64, 8, causal=True), ((0.75, 0.8), (0.75, 0.8))),
        ],
    ),
    Group("d32", "Head dim 32", [attention(shape(4096, 32, 4, 2, causal=True), ((0.70, 0.78),) * 2, ((1.3, 1.45),) * 2)]),
    Group("dims", "Head dims 96, 128, 256", [attention(shape(2048, d, 4), ((0.85, 0.92),) * 2) for d in (96, 128, 256)]),
    Group("matmul", "Matrix products", [product(1024), product(2048)]),
    Group("layers", "The layers' matrix products", [layers("base", TINY, 4096), layers("qwen2.5-0.5b", HALF, 4096)]),
    Group("ring", "The ring's own cost", [ring_busy()]),
    Group("masks", "Masks and options", mask_rows()),
    Group("lucid", "Ring attention beside lucidrains'", [lucid(True, (6.5, 7.5)), lucid(False, (2.5, 2.8))]),
    Group(
        "step",
        "A training step",
        [
            step("1.2M", TINY, 4096, (1.5, 2), (0.5, 0.3), 7),
            step("1.2M", TINY, 16384, (1.7, 2), (0.5, 0.3), 3),
            step("40M", MIDDLE, 4096, (1.4, 1.6), (0.5, 0.3), 3),
        ],
    ),
    Group(
        "half",
        "A training step of half a billion parameters",
        [step("0.5B", HALF, 4096, (1.3, 1.5), (0.6, 0.55), 1, apart=True)],
        default=False,
    ),
    Group("memory", "Half a billion parameters at 16,384 tokens", [long_step()], default=False),
    Group("bf16", "bfloat16 attention", [bfloat16(False), bfloat16(True)]),
    Group("float64", "float64", [float64("avx512"), float64("avx2")]),
    Group(
        "avx2",
        "AVX2",
        [
            attention(
                shape(2048, 64, 8),
                ((0.75, 0.85), (0.78, 0.85)),
                environment={"RINGGRAD_ISA": "avx2"},
                figure="of_fma_peak",
                against="AVX2 FMA peak",
            )
        ],
    ),
]

# The README's table: a label, and the keys of lines whose ratios stand beside each other.
MAIN_FIGURES = [
    (
        "attention, of the ceiling: forward, backward",
        ["n 2,048 d 64 h 8 full forward ceiling", "n 2,048 d 64 h 8 full backward ceiling"],
    ),
    ("the same, causal", ["n 2,048 d 64 h 8 causal forward ceiling", "n 2,048 d 64 h 8 causal backward ceiling"]),
    (
        "attention ÷ PyTorch's flash attention: forward, backward",
        ["n 2,048 d 64 h 8 full forward pytorch", "n 2,048 d 64 h 8 full backward pytorch"],
    ),
    ("the same, causal", ["n 2,048 d 64 h 8 causal forward pytorch", "n 2,048 d 64 h 8 causal backward pytorch"]),
    ("matrix products 1,024³, 2,048³ ÷ PyTorch's", ["sgemm 1024", "sgemm 2048"]),
    ("processor time of a ring of 8 ÷ one call over the whole sequence", ["ring"]),
    (
        "speed of a ring of 4 ÷ that of lucidrains': causal, full",
        [f"ring of 4, n 4,096 d 64 h 8 {mask}, both passes" for mask in ("causal", "full")],
    ),
    (
        "training step ÷ Hugging Face's, tokens a second: 1.2M at 4,096, at 16,384; 40M; 0.5B",
        ["1.2M, T 4,096 speed", "1.2M, T 16,384 speed", "40M, T 4,096 speed", "0.5B, T 4,096 speed"],
    ),
    ("its peak memory ÷ Hugging Face's", ["1.2M, T 4,096 memory", "1.2M, T 16,384 memory", "40M, T 4,096 memory", "0.5B, T 4,096 memory"]),
]


def default_groups():
    return [g.key for g in GROUPS if g.default]
