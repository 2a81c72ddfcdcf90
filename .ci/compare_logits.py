"""Loads what `train` wrote with transformers, and compares logits, loss and every gradient.

usage: compare_logits.py REPOSITORY SCRATCH

For each architecture the command trains a tiny model from scratch for a few steps; transformers loads the folder that it wrote
and computes a reference in float64; `train gradcheck --model` then holds ours against it. Exit status 0 when all agree.
"""

import json
import os
import subprocess
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

TOLERANCE = 5e-5

MODELS = {
    "llama_tied": {"model_type": "llama", "tie_word_embeddings": True},
    "llama_bias": {"model_type": "llama", "tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True},
    "llama_yarn": {
        "model_type": "llama",
        "tie_word_embeddings": False,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
    },
    "qwen2": {"model_type": "qwen2", "tie_word_embeddings": True},
    "qwen3": {"model_type": "qwen3", "tie_word_embeddings": False, "head_dim": 24},
    "mistral": {"model_type": "mistral", "tie_word_embeddings": False, "sliding_window": 20},
    "gemma2": {"model_type": "gemma2", "head_dim": 8, "sliding_window": 20, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    "gpt_oss": {"model_type": "gpt_oss", "tie_word_embeddings": False, "head_dim": 8, "sliding_window": 20, "num_local_experts": 1, "num_experts_per_tok": 1},
}

SHAPE = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 80,
    "vocab_size": 256,
    "max_position_embeddings": 128,
}


def write_config(path, model, output, text):
    """A run of three steps over the given text."""
    config = {
        "model": {**SHAPE, **model},
        "tokenizer_config": "testdata/bytes",
        "datasets": [{"path": text}],
        "concatenate": True,
        "val_set_size": 0,
        "sequence_len": 96,
        "context_parallel_size": 3,
        "max_steps": 3,
        "learning_rate": 1e-2,
        "output_dir": output,
    }
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)  # JSON is YAML


def write_reference(folder):
    """Logits, loss and gradients of the folder's model as transformers computes them, beside its weights."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager"
    )
    torch.manual_seed(1)
    ids = torch.randint(0, model.config.vocab_size, (1, 61))
    labels = ids.clone()
    labels[0, 5:9] = -100
    out = model(input_ids=ids, labels=labels)
    out.loss.backward()
    tensors = {"input_ids": ids, "labels": labels, "logits": out.logits, "loss": out.loss.reshape(1)}
    for name, parameter in model.named_parameters():
        tensors["grad." + name] = parameter.grad
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, os.path.join(folder, "reference.safetensors"))


def main():
    logging.disable_progress_bar()
    repository, scratch = sys.argv[1], sys.argv[2]
    os.makedirs(scratch, exist_ok=True)
    command = os.path.join(scratch, "train")
    subprocess.run(["go", "build", "-o", command, "./cmd/train"], cwd=repository, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    text = os.path.join(scratch, "text.txt")
    with open(text, "w", encoding="utf-8") as f:
        f.write("The quick brown fox jumps over the lazy dog. " * 200)
    bad = 0
    for name, model in MODELS.items():
        output = os.path.join(scratch, name)
        config = output + ".yaml"
        write_config(config, model, output, text)
        subprocess.run([command, "--config", config], cwd=repository, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        write_reference(output)
        run = subprocess.run(
            [command, "gradcheck", "--model", output, "--ring", "1,3", "--layout", "zigzag", "--dtype", "float32", "--json"],
            cwd=repository, stdout=subprocess.PIPE, check=False,
        )
        worst = max(max(m["max_rel"].values()) for m in json.loads(run.stdout)["models"])
        ok = worst <= TOLERANCE
        bad += not ok
        print(f"{name:12} worst difference from transformers {worst:.1e} {'ok' if ok else 'TOO FAR'}")
    print(f"{len(MODELS) - bad} passed, {bad} failed")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
