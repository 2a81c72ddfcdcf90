#!/usr/bin/env python3
"""Writes the model folders of trainer/model/testdata with what transformers computes for them.

Every folder has random float32 weights and reference.safetensors: the token ids and labels of a batch, and logits, loss and every
gradient as transformers computes them in float64 (it keeps norms, rotations and some softmaxes in float32), stored as float32.
Nothing of this repository is used.

    python3 -m venv venv && venv/bin/pip install torch transformers safetensors
    venv/bin/python testdata/scripts/make_models.py trainer/model/testdata [NAME...]
"""

import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

SHAPE = {
    "hidden_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}

# Caps and limits are low, and windows short, so that every one of them changes what these small models compute.
MODELS = {
    "mistral_window": {
        "model_type": "mistral",
        "num_hidden_layers": 2,
        "intermediate_size": 56,
        "head_dim": 8,
        "sliding_window": 7,
    },
    "qwen3_window": {
        "model_type": "qwen3",
        "num_hidden_layers": 3,
        "intermediate_size": 40,
        "head_dim": 8,
        "use_sliding_window": True,
        "sliding_window": 5,
        "max_window_layers": 1,
        "tie_word_embeddings": True,
    },
    "gemma2": {
        "model_type": "gemma2",
        "num_hidden_layers": 3,
        "intermediate_size": 40,
        "head_dim": 8,
        "query_pre_attn_scalar": 24,
        "sliding_window": 6,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
    },
    "gpt_oss": {
        "model_type": "gpt_oss",
        "num_hidden_layers": 2,
        "intermediate_size": 40,
        "head_dim": 8,
        "sliding_window": 9,
        "num_local_experts": 1,
        "num_experts_per_tok": 1,
        "swiglu_limit": 1.5,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 150000.0,
            "factor": 4.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 32,
        },
    },
}


def new_model(options, generator):
    """Weights large enough for the softmax, the caps and the limits to bend, and nothing that is 0 or 1 by default."""
    config = AutoConfig.for_model(**{**SHAPE, **options}, attn_implementation="eager")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                parameter.add_(0.3 * noise)
            elif name.endswith("sinks"):
                parameter.copy_(noise)
            else:
                parameter.copy_(0.2 * noise)
    return model


def reference(folder, generator, batch=2, tokens=21):
    """Logits, loss and gradients of a folder's model, in float64."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager"
    )
    ids = torch.randint(0, model.config.vocab_size, (batch, tokens), generator=generator)
    labels = ids.clone()
    labels[0, 4:7] = -100
    out = model(input_ids=ids, labels=labels)
    out.loss.backward()
    tensors = {"logits": out.logits, "loss": out.loss.reshape(1)}
    for name, parameter in model.named_parameters():
        tensors["grad." + name] = parameter.grad
    tensors = {name: tensor.detach().to(torch.float32).contiguous() for name, tensor in tensors.items()}
    tensors["loss"] = out.loss.detach().reshape(1)
    return {"input_ids": ids, "labels": labels, **tensors}


def make(folder, options, seed):
    generator = torch.Generator().manual_seed(seed)
    new_model(options, generator).save_pretrained(folder)
    tensors = reference(folder, generator)
    source = f"transformers {transformers.__version__}, PyTorch {torch.__version__.split('+')[0]}, testdata/scripts/make_models.py"
    save_file(tensors, folder / "reference.safetensors", {"source": source})
    print(f"{folder}: loss {tensors['loss'].item():.6f}, {sum(f.stat().st_size for f in folder.iterdir())} bytes")


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "trainer/model/testdata")
    models = dict(MODELS)
    if len(sys.argv) > 2 and sys.argv[2].endswith(".json"):  # options of other models, by name
        models = json.loads(pathlib.Path(sys.argv[2]).read_text(encoding="utf-8"))
    names = [name for name in sys.argv[2:] if name in models] or models
    for seed, name in enumerate(models, start=1):
        if name in names:
            make(root / name, models[name], seed)


if __name__ == "__main__":
    main()
