"""Writes rope.json: inverse frequencies and attention factors as transformers computes them.

    pip install transformers torch && python rope.py > rope.json
"""

import json

import torch
import transformers
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 512}
CASES = [
    {"max_position_embeddings": 128},
    {"rope_theta": 500000.0, "rope_scaling": None},
    {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
    {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 1000000.0}},
    {"rope_parameters": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 8192, "rope_theta": 500000.0}, "max_position_embeddings": 131072},
    {"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                              "original_max_position_embeddings": 32}, "max_position_embeddings": 128},
    {"rope_theta": 10000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 2.0, "high_freq_factor": 3.0},
     "max_position_embeddings": 200},
    {"rope_theta": 10000.0, "rope_scaling": YARN, "max_position_embeddings": 4096},
    {"rope_parameters": {**YARN, "rope_theta": 1000000.0}, "max_position_embeddings": 4096},
    {"rope_theta": 10000.0, "rope_scaling": {**YARN, "attention_factor": 1.25}, "max_position_embeddings": 4096},
    {"rope_theta": 10000.0, "rope_scaling": {**YARN, "beta_fast": 16.0, "beta_slow": 2.0}, "max_position_embeddings": 4096},
    {"rope_theta": 10000.0, "rope_scaling": {**YARN, "mscale": 0.707, "mscale_all_dim": 0.5}, "max_position_embeddings": 4096},
    {"rope_theta": 10000.0, "rope_scaling": {**YARN, "mscale": 0.707}, "max_position_embeddings": 4096},
    {"rope_theta": 10000.0, "rope_scaling": {**YARN, "truncate": False}, "max_position_embeddings": 4096},
    {"rope_theta": 10000.0, "rope_scaling": {**YARN, "factor": None}, "max_position_embeddings": 2048},
    {"rope_theta": 10000.0, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}, "max_position_embeddings": 256},
    {"rope_theta": 10000.0, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8},
     "max_position_embeddings": 32},
    {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.0},
     "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 5.0}, "max_position_embeddings": 256},
]


def case(config, head_dim):
    config = {"max_position_embeddings": 2048, **config}
    base = {"model_type": "llama", "hidden_size": 4 * head_dim, "num_attention_heads": 4, "vocab_size": 10, "intermediate_size": 8, "num_hidden_layers": 1}
    text = json.loads(json.dumps({**base, **config}))  # transformers changes what it is given
    rotary = LlamaRotaryEmbedding(LlamaConfig.from_dict(text))
    return {
        "config": {**base, **config},
        "inv_freq": [float(x) for x in rotary.inv_freq.to(torch.float64)],
        "attention_scaling": float(rotary.attention_scaling),
    }


transformers.logging.set_verbosity_error()
cases = [case(config, head_dim) for config in CASES for head_dim in (8, 64)]
lines = ",\n".join(json.dumps(c) for c in cases)
print('{"made_by": "rope.py, transformers %s, torch %s", "cases": [\n%s\n]}' % (transformers.__version__, torch.__version__.split("+")[0], lines))
