"""What scripts/h200.py asks of PyTorch: attention in float64 and its golden files, errors in 16 bits, and times.

Arrays are [B,T,H,D] on the outside, as in testdata/golden.
"""

import contextlib
import ctypes
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

FLASH, CUDNN, PLAIN = "FlashAttention-2", "cuDNN", "plain"
BACKENDS = {FLASH: SDPBackend.FLASH_ATTENTION, CUDNN: SDPBackend.CUDNN_ATTENTION}
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
GRADIENTS = ("dq", "dk", "dv")


def place():
    """Where PyTorch computes; the CPU only where there is no GPU, to test these scripts."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def versions():
    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else None
    return f"PyTorch {torch.__version__}" + (f", cuDNN {cudnn}" if cudnn else "")


def reason(error):
    return str(error).strip().split("\n")[0][:160].rstrip(".")


def draw(shape, seed):
    """q, k, v and d_out in float64, of numbers that bfloat16 has, so that 16 bits lose nothing on the way in."""
    generator = torch.Generator().manual_seed(seed)

    def normal(heads):
        x = torch.randn(1, shape.tokens, heads, shape.dim, generator=generator)
        return x.to(torch.bfloat16).to(torch.float64).to(place())

    return normal(shape.heads), normal(shape.kv_heads), normal(shape.kv_heads), normal(shape.heads)


def explicit(q, k, v, causal):
    """Attention by its definition, in the type of its inputs -> out, scores."""
    group = q.shape[2] // k.shape[2]
    k, v = k.repeat_interleave(group, dim=2), v.repeat_interleave(group, dim=2)
    scores = torch.einsum("bihd,bjhd->bhij", q * q.shape[3] ** -0.5, k)
    if causal:
        n = q.shape[1]
        scores = scores.masked_fill(torch.ones(n, n, dtype=torch.bool, device=q.device).triu(1), float("-inf"))
    return torch.einsum("bhij,bjhd->bihd", torch.softmax(scores, dim=-1), v), scores


def sdpa(q, k, v, causal, backend):
    """PyTorch's own attention on [B,H,T,D]."""
    with sdpa_kernel([BACKENDS[backend]]):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])


def heads_first(x):
    return x.transpose(1, 2)


def compute(inputs, causal, how, dtype):
    """out, dq, dk, dv in a type, by a backend or plainly."""
    q, k, v, d_out = (x.to(dtype) for x in inputs)
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    if how == PLAIN:
        out = explicit(q, k, v, causal)[0]
    else:
        out = heads_first(sdpa(*(heads_first(x) for x in (q, k, v)), causal, how))
    return dict(zip(("out", *GRADIENTS), (out.detach(), *torch.autograd.grad(out, (q, k, v), d_out))))


def golden(path, shape, seed):
    """Writes a golden file in float64 and returns inputs and what should come out."""
    inputs = draw(shape, seed)
    q, k, v = (x.requires_grad_() for x in inputs[:3])
    out, scores = explicit(q, k, v, shape.causal)
    gradients = torch.autograd.grad(out, (q, k, v), inputs[3])
    want = dict(zip(("out", *GRADIENTS), (out, *gradients)))
    tensors = dict(zip(("q", "k", "v", "d_out"), inputs), lse=torch.logsumexp(scores, dim=-1), **want)
    metadata = {"source": f"PyTorch {torch.__version__} autograd in float64, scripts/h200.py", "causal": str(shape.causal).lower()}
    save(path, tensors, metadata)
    return [x.detach() for x in inputs], {name: x.detach() for name, x in want.items()}


def save(path, tensors, metadata):
    """A safetensors file of float64: the length of the header, the header, the tensors."""
    header, at, data = {"__metadata__": metadata}, 0, []
    for name, x in tensors.items():
        x = x.detach().cpu().contiguous()
        data.append(ctypes.string_at(x.data_ptr(), 8 * x.numel()))
        header[name] = {"dtype": "F64", "shape": list(x.shape), "data_offsets": [at, at + len(data[-1])]}
        at += len(data[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *data]))


def errors(inputs, want, causal, dtype):
    """By program, the largest error of each tensor over that tensor's largest entry; or why the program does not run."""
    found = {}
    for how in (*BACKENDS, PLAIN):
        try:
            got = compute(inputs, causal, how, DTYPES[dtype])
            found[how] = {n: ((got[n].to(torch.float64) - w).abs().max() / w.abs().max()).item() for n, w in want.items()}
        except RuntimeError as err:
            found[how] = reason(err)
    return found


def sleep():
    """Keeps the GPU busy for some milliseconds, in which the calls to be timed queue up behind: no gaps between them are timed."""
    if torch.cuda.is_available() and hasattr(torch.cuda, "_sleep"):
        torch.cuda._sleep(20_000_000)


def seconds(call, rounds):
    """The median time of a call, by events on the GPU."""
    for _ in range(3):
        call()
    if place() == "cpu":
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return statistics.median(times)
    torch.cuda.synchronize()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(rounds)]
    sleep()
    for start, end in events:
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in events) / 1e3


def times(shape, dtype, rounds):
    """By backend, the seconds of forward and backward; or why it does not run."""
    found = {}
    for backend in BACKENDS:
        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()
        try:
            q, k, v, d_out = (heads_first(x).to(DTYPES[dtype]).contiguous() for x in draw_fast(shape))
            q, k, v = (x.requires_grad_() for x in (q, k, v))
            with torch.no_grad():
                forward = seconds(lambda: sdpa(q, k, v, shape.causal, backend), rounds)
            out = sdpa(q, k, v, shape.causal, backend)
            backward = seconds(lambda: torch.autograd.grad(out, (q, k, v), d_out, retain_graph=True), rounds)
            found[backend] = {"forward": forward, "backward": backward}
        except RuntimeError as err:  # out of memory too
            found[backend] = reason(err)
    return found


def draw_fast(shape):
    """Like draw, on the device itself and in float32."""
    generator = torch.Generator(device=place()).manual_seed(1)
    heads = (shape.heads, shape.kv_heads, shape.kv_heads, shape.heads)
    return [torch.randn(1, shape.tokens, h, shape.dim, generator=generator, device=place()) for h in heads]


def matmul_rate(n=8192, rounds=10):
    """Operations a second of a bfloat16 product of matrices, as a ceiling."""
    a, b = (torch.randn(n, n, device=place(), dtype=torch.bfloat16) for _ in range(2))
    return 2 * n**3 / seconds(lambda: a @ b, rounds)
