#!/usr/bin/env python3
"""Writes the golden attention cases of testdata/golden.

Attention and its gradients by PyTorch: scores by einsum, torch.logsumexp and torch.exp, and autograd for dq, dk, dv,
all in float64. Nothing of this repository is used. The format is described in testdata/golden/README.md.

    python3 -m venv venv && venv/bin/pip install torch numpy safetensors
    venv/bin/python testdata/scripts/make_golden.py testdata/golden
"""

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
]


def attention(q, k, v, scale, causal):
    """q [B,T,H,D], k [B,T,K,D], v [B,T,K,Dv] -> out [B,T,H,Dv], lse [B,H,T]."""
    batch, tokens, heads, dim = q.shape
    kv_heads = k.shape[2]
    grouped = q.reshape(batch, tokens, kv_heads, heads // kv_heads, dim)
    scores = scale * torch.einsum("bikgd,bjkd->bkgij", grouped, k)
    if causal:
        i = torch.arange(tokens)
        scores = scores.masked_fill(i[None, :] > i[:, None], float("-inf"))
    lse = torch.logsumexp(scores, dim=-1)
    out = torch.einsum("bkgij,bjkd->bikgd", torch.exp(scores - lse[..., None]), v)
    return out.reshape(batch, tokens, heads, v.shape[3]), lse.reshape(batch, heads, tokens)


def case(seed, batch, tokens, heads, kv_heads, dim, value_dim, std=1.0, causal=True, scale=None, dtype=np.float64):
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
    out, lse = attention(q, k, v, scale, causal)
    dq, dk, dv = torch.autograd.grad(out, (q, k, v), d_out)
    tensors = {"q": q, "k": k, "v": v, "d_out": d_out, "out": out, "lse": lse, "dq": dq, "dk": dk, "dv": dv}
    arrays = {name: np.ascontiguousarray(t.detach().numpy().astype(dtype)) for name, t in tensors.items()}
    metadata = {
        "source": f"PyTorch {torch.__version__.split('+')[0]} autograd in float64, testdata/scripts/make_golden.py",
        "causal": "true" if causal else "false",
        "scale": repr(float(scale)),
        "window_left": "-1",
        "window_right": "-1",
    }
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
