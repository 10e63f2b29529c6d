"""Writes golden-blocks.json: random quantised blocks and what the Python package gguf (llama.cpp's own) makes of them.

    python3 -m venv venv && venv/bin/pip install gguf==0.19.0 && venv/bin/python golden-blocks.py > golden-blocks.json
"""
import base64
import json

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Where each type's block keeps its f16 scales and minima: random bytes there could be infinity or NaN.
HALVES = {
    "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}  # fmt: skip


def encode(array):
    return base64.b64encode(array.tobytes()).decode()


rng = np.random.default_rng(1)
golden = {}
for name, offsets in HALVES.items():
    block_size, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    blocks = rng.integers(0, 256, (max(1, 96 // block_size), block_bytes), dtype=np.uint8)
    for offset in offsets:
        halves = rng.normal(0, 0.05, len(blocks)).astype(np.float16)
        blocks[:, offset : offset + 2] = halves.view(np.uint8).reshape(-1, 2)
    values = dequantize(blocks, GGMLQuantizationType[name]).astype("<f4")
    golden[name] = {"blocks": encode(blocks), "valuesF32": encode(values)}
print(json.dumps(golden, indent=2))
