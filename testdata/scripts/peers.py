"""What performance.py measures beside us: a process that computes what it is told, with PyTorch.

Requests are lines of JSON on stdin, answers lines of JSON on stdout. Times are seconds of wall time, of one run each.

    {"what": "attention", "n": 2048, "d": 64, "heads": 8, "kv_heads": 8, "causal": false, "dtype": "float32"}
    {"what": "matmul", "products": [[1024, 1024, 1024, "nn"]]}
    {"what": "step", "tokens": 4096, "model": {"hidden_size": 128, ...}}
    {"what": "ring", "ranks": 4, "n": 4096, "d": 64, "heads": 8, "causal": true}

What a request needs is made, and run once to warm up, when it comes for the first time; the one before is forgotten.
"""

import json
import os
import resource
import socket
import sys
import time
import warnings

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SAMPLE = 0.1  # seconds: what is shorter is run again until then


def seconds(*runs):
    """Mean seconds of each function; all of them take turns."""
    totals, count = [0.0] * len(runs), 0
    while count == 0 or sum(totals) < SAMPLE:
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            totals[i] += time.perf_counter() - start
        count += 1
    return [total / count for total in totals]


class Attention:
    """PyTorch's flash attention, which it has for CPUs too."""

    def __init__(self, r):
        dtype = getattr(torch, r["dtype"])

        def normal(heads, grad=True):
            return torch.randn(1, heads, r["n"], r["d"], dtype=dtype, requires_grad=grad)

        self.q, self.k, self.v = normal(r["heads"]), normal(r["kv_heads"]), normal(r["kv_heads"])
        self.d_out = normal(r["heads"], grad=False)
        self.causal, self.grouped = r["causal"], r["heads"] != r["kv_heads"]
        self.run()

    def forward(self):
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
            self.out = F.scaled_dot_product_attention(self.q, self.k, self.v, is_causal=self.causal, enable_gqa=self.grouped)

    def backward(self):
        self.q.grad = self.k.grad = self.v.grad = None
        self.out.backward(self.d_out)

    def run(self):
        forward, backward = seconds(self.forward, self.backward)
        return {"forward": forward, "backward": backward}


class Matmul:
    """Products C [m,n] = op(A)·op(B) over k, into memory that is there."""

    def __init__(self, r):
        self.products = []
        for m, n, k, trans in r["products"]:
            a = torch.randn(k, m).t() if trans[0] == "t" else torch.randn(m, k)
            b = torch.randn(n, k).t() if trans[1] == "t" else torch.randn(k, n)
            self.products.append((a, b, torch.empty(m, n)))
        self.run()

    def run(self):
        return {"seconds": [seconds(lambda: torch.mm(a, b, out=c))[0] for a, b, c in self.products]}


class Step:
    """A training step of Hugging Face's Llama: forward, backward with checkpointing, clipping, AdamW."""

    def __init__(self, r):
        from transformers import LlamaConfig, LlamaForCausalLM

        config = LlamaConfig(**r["model"], max_position_embeddings=r["tokens"], attn_implementation="sdpa", tie_word_embeddings=True)
        torch.manual_seed(0)
        self.model = LlamaForCausalLM(config).float()
        self.model.train()
        self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, foreach=True)
        self.ids = torch.randint(0, config.vocab_size, (1, r["tokens"]))
        self.step()

    def step(self):
        loss = self.model(input_ids=self.ids, labels=self.ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def run(self):
        start = time.perf_counter()
        self.step()
        taken = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (0 if sys.platform == "darwin" else 10)  # bytes, or KiB
        return {"seconds": taken, "tokens": self.ids.numel(), "peak_memory_bytes": peak}


class Ring:
    """lucidrains' ring attention, a process a rank, over gloo. This process is rank 0."""

    def __init__(self, r):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        arguments = (r, port, torch.get_num_threads())
        self.others = [
            mp.get_context("spawn").Process(target=ring_rank, args=(rank, *arguments), daemon=True) for rank in range(1, r["ranks"])
        ]
        for process in self.others:
            process.start()
        self.rank = RingRank(0, *arguments)
        self.run()

    def run(self):
        dist.broadcast_object_list([True])
        return self.rank.run()

    def close(self):
        dist.broadcast_object_list([False])
        dist.destroy_process_group()
        for process in self.others:
            process.join()


class RingRank:
    def __init__(self, rank, r, port, threads):
        self.ranks, self.causal = r["ranks"], r["causal"]
        torch.set_num_threads(max(1, threads // self.ranks))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(self.ranks), LOCAL_RANK=str(rank))
        dist.init_process_group("gloo", rank=rank, world_size=self.ranks)
        torch.manual_seed(rank)
        shape = (1, r["n"] // self.ranks, r["heads"], r["d"])
        self.q, self.k, self.v = (torch.randn(*shape, requires_grad=True) for _ in range(3))
        self.d_out = torch.randn(*shape)

    def run(self):
        from ring_attention_pytorch.ring_flash_attention import ring_flash_attn

        dist.barrier()
        start = time.perf_counter()
        out = ring_flash_attn(self.q, self.k, self.v, None, self.causal, 512, True, False, None, self.ranks)
        dist.barrier()
        middle = time.perf_counter()
        out.backward(self.d_out)
        dist.barrier()
        return {"forward": middle - start, "backward": time.perf_counter() - middle}


def ring_rank(rank, *arguments):
    """The life of a rank other than 0."""
    warnings.filterwarnings("ignore")
    r = RingRank(rank, *arguments)
    go = [True]
    while True:
        dist.broadcast_object_list(go)
        if not go[0]:
            break
        r.run()
    dist.destroy_process_group()


KINDS = {"attention": Attention, "matmul": Matmul, "step": Step, "ring": Ring}


def main():
    warnings.filterwarnings("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print does not belong between the answers
    torch.set_num_threads(int(sys.argv[1]))
    held, work = None, None
    for line in sys.stdin:
        if line != held:
            if isinstance(work, Ring):
                work.close()
                torch.set_num_threads(int(sys.argv[1]))
            work = None  # its memory goes before the next takes its own
            request = json.loads(line)
            held, work = line, KINDS[request["what"]](request)
        print(json.dumps(work.run()), file=answers, flush=True)
    if isinstance(work, Ring):
        work.close()


if __name__ == "__main__":
    main()
