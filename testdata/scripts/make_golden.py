#!/usr/bin/env python3
"""Writes the golden attention cases of testdata/golden.

Attention and its gradients by PyTorch: scores by einsum, torch.logsumexp and torch.exp, and autograd for dq, dk, dv,
all in float64; masks, softcap, ALiBi and sinks by their definitions. Nothing of this repository is used. The format is described in testdata/golden/README.md.

    python3 -m venv venv && venv/bin/pip install torch numpy safetensors
    venv/bin/python testdata/scripts/make_golden.py testdata/golden
"""

import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

# name, batch, tokens, heads, KV heads, head dim, value dim, and what differs from the defaults
CASES = [
    ("a01_causal_one_token", 1, 1, 2, 1, 8, 8, {}),
    ("a02_causal_7", 1, 7, 2, 2, 8, 8, {}),
    ("a03_full_7_mqa", 1, 7, 4, 1, 8, 8, {"causal": False}),
    ("a04_causal_33_gqa", 1, 33, 4, 2, 16, 16, {}),
    ("a05_full_21_gqa_batch", 2, 21, 4, 2, 8, 8, {"causal": False}),
    ("a06_causal_65_mqa", 1, 65, 3, 1, 8, 8, {}),
    ("a07_causal_hot", 1, 40, 2, 1, 16, 16, {"std": 12.0}),
    ("a08_full_hot", 1, 24, 2, 2, 8, 8, {"std": 12.0, "causal": False}),
    ("a09_causal_wide_values", 1, 29, 2, 1, 8, 24, {}),
    ("a10_full_narrow_values", 1, 31, 2, 2, 24, 8, {"causal": False}),
    ("a11_causal_d256", 1, 5, 1, 1, 256, 256, {}),
    ("a12_causal_97_batch", 2, 97, 1, 1, 8, 8, {}),
    ("a13_causal_scale", 1, 13, 3, 3, 10, 10, {"scale": 1.7}),
    ("a14_causal_float32", 1, 19, 2, 1, 12, 12, {"dtype": np.float32}),
    # documents that are empty stand at the beginning, in the middle and at the end; some have one token
    ("b01_documents_causal", 1, 45, 2, 1, 4, 4, {"cu_seqlens": [0, 0, 1, 14, 14, 15, 30, 44, 45, 45]}),
    ("b02_documents_full", 1, 37, 2, 2, 4, 4, {"cu_seqlens": [0, 13, 13, 14, 29, 37], "causal": False}),
    # a window on the right shows nothing that causal order hides
    ("b03_window_causal", 1, 40, 2, 1, 4, 4, {"window": (7, 2)}),
    ("b04_window_both_sides", 1, 41, 2, 1, 4, 4, {"window": (5, 3), "causal": False}),
    ("b05_window_right", 1, 23, 2, 1, 4, 4, {"window": (-1, 4), "causal": False}),
    ("b06_window_documents", 1, 47, 2, 1, 4, 4, {"window": (6, 2), "causal": False, "cu_seqlens": [0, 19, 20, 20, 47]}),
    ("b07_softcap", 1, 33, 2, 1, 6, 6, {"softcap": 2.5, "std": 3.0}),
    ("b08_alibi", 1, 31, 4, 2, 4, 4, {"alibi": True}),
    ("b09_alibi_full", 1, 26, 3, 1, 4, 4, {"alibi": True, "causal": False}),
    ("b10_sinks", 1, 29, 4, 2, 4, 4, {"sinks": True}),
    ("b11_mla_window", 1, 24, 2, 2, 24, 16, {"window": (9, -1)}),
    ("b12_everything", 1, 47, 4, 2, 6, 4, {
        "window": (13, 4), "softcap": 3.0, "alibi": True, "sinks": True, "std": 2.0, "scale": 0.5,
        "cu_seqlens": [0, 1, 1, 20, 21, 47, 47]}),
]


def mask(tokens, causal, window, cu_seqlens):
    """visible [T,T]: whether query i sees key j."""
    i, j = torch.arange(tokens)[:, None], torch.arange(tokens)[None, :]
    visible = torch.ones(tokens, tokens, dtype=torch.bool)
    if causal:
        visible &= j <= i
    left, right = window
    if left >= 0:
        visible &= i - j <= left
    if right >= 0:
        visible &= j - i <= right
    if cu_seqlens is not None:
        document = torch.repeat_interleave(torch.arange(len(cu_seqlens) - 1), torch.tensor(cu_seqlens).diff())
        visible &= document[:, None] == document[None, :]
    return visible


def attention(q, k, v, scale, visible, softcap=None, slopes=None, sinks=None):
    """q [B,T,H,D], k [B,T,K,D], v [B,T,K,Dv], slopes and sinks [H] -> out [B,T,H,Dv], lse [B,H,T]."""
    batch, tokens, heads, dim = q.shape
    kv_heads = k.shape[2]
    grouped = q.reshape(batch, tokens, kv_heads, heads // kv_heads, dim)
    scores = scale * torch.einsum("bikgd,bjkd->bkgij", grouped, k)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if slopes is not None:
        i = torch.arange(tokens)
        scores = scores - slopes.reshape(kv_heads, -1, 1, 1) * (i[:, None] - i[None, :]).abs()
    scores = scores.masked_fill(~visible, float("-inf"))
    logits = scores
    if sinks is not None:
        column = sinks.reshape(1, kv_heads, heads // kv_heads, 1, 1).expand(batch, -1, -1, tokens, 1)
        logits = torch.cat([scores, column], dim=-1)
    lse = torch.logsumexp(logits, dim=-1)
    out = torch.einsum("bkgij,bjkd->bikgd", torch.exp(scores - lse[..., None]), v)
    return out.reshape(batch, tokens, heads, v.shape[3]), lse.reshape(batch, heads, tokens)


def case(seed, batch, tokens, heads, kv_heads, dim, value_dim, std=1.0, causal=True, scale=None, dtype=np.float64,
         window=(-1, -1), cu_seqlens=None, softcap=None, alibi=False, sinks=False):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape, std=1.0):
        x = torch.randn(*shape, generator=generator, dtype=torch.float64) * std
        return x.to(torch.float32).to(torch.float64) if dtype == np.float32 else x

    scale = dim**-0.5 if scale is None else scale
    # both factors of the scores share the standard deviation that makes hot logits hot
    q = normal(batch, tokens, heads, dim, std=std**0.5).requires_grad_()
    k = normal(batch, tokens, kv_heads, dim, std=std**0.5).requires_grad_()
    v = normal(batch, tokens, kv_heads, value_dim).requires_grad_()
    d_out = normal(batch, tokens, heads, value_dim)
    slopes = 2.0 ** (-4.0 * torch.arange(1, heads + 1, dtype=torch.float64) / heads) if alibi else None
    sink = normal(heads, std=1.5).requires_grad_() if sinks else None
    out, lse = attention(q, k, v, scale, mask(tokens, causal, window, cu_seqlens), softcap, slopes, sink)
    inputs = [q, k, v] + ([sink] if sinks else [])
    dq, dk, dv, *d_sinks = torch.autograd.grad(out, inputs, d_out)
    tensors = {"q": q, "k": k, "v": v, "d_out": d_out, "out": out, "lse": lse, "dq": dq, "dk": dk, "dv": dv}
    if alibi:
        tensors["alibi_slopes"] = slopes
    if sinks:
        tensors["sinks"], tensors["d_sinks"] = sink, d_sinks[0]
    arrays = {name: np.ascontiguousarray(t.detach().numpy().astype(dtype)) for name, t in tensors.items()}
    metadata = {
        "source": f"PyTorch {torch.__version__.split('+')[0]} autograd in float64, testdata/scripts/make_golden.py",
        "causal": "true" if causal else "false",
        "scale": repr(float(scale)),
        "window_left": str(window[0]),
        "window_right": str(window[1]),
    }
    if softcap is not None:
        metadata["softcap"] = repr(float(softcap))
    if cu_seqlens is not None:
        metadata["cu_seqlens"] = json.dumps(cu_seqlens)
    return arrays, metadata


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "testdata/golden")
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, *shape, options) in enumerate(CASES, start=1):
        arrays, metadata = case(seed, *shape, **options)
        save_file(arrays, folder / f"{name}.safetensors", metadata)
        print(f"{name}: {sum(a.nbytes for a in arrays.values())} bytes")


if __name__ == "__main__":
    main()
