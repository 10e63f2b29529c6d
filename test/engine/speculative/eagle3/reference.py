"""Writes a small EAGLE-3 drafter of random weights, laid out as public checkpoints are, and what it gives, computed with PyTorch in f64.
usage: pip install torch safetensors numpy; python3 reference.py   (writes fixture/ beside this file)

After arXiv 2503.01840, section 3.1: fc fuses three levels of the target; attention reads [norm(embedding), norm(feature)]; the residual
stream begins with the feature; a drafted row's feature is the layer's output at its parent; norm and lm_head over a draft vocabulary.
"""
import json, os, torch, torch.nn as nn, torch.nn.functional as F
from safetensors.torch import save_file

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, INTERMEDIATE, VOCAB, DRAFT_VOCAB, EPS, THETA = 32, 4, 2, 8, 48, 96, 40, 1e-5, 10000.0
KNOWN = [5, 17, 80, 3, 3, 61, 42, 95, 8, 29]
# Nodes below the root, the last known token: (token, parent); parents come first.
TREE = [(12, 0), (80, 0), (44, 1), (7, 2), (12, 1), (95, 3)]


class Norm(nn.Module):
    def __init__(self):
        super().__init__(); self.weight = nn.Parameter(torch.empty(HIDDEN))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * self.weight


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


def rotate(x, positions):
    """x [heads, rows, HEAD_DIM]; halves are the two parts of each rotated pair."""
    frequencies = THETA ** (-torch.arange(0, HEAD_DIM, 2, dtype=x.dtype) / HEAD_DIM)
    angles = positions[:, None] * frequencies
    cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.o_proj = linear(2 * HIDDEN, HEADS * HEAD_DIM), linear(HEADS * HEAD_DIM, HIDDEN)
        self.k_proj, self.v_proj = linear(2 * HIDDEN, KV_HEADS * HEAD_DIM), linear(2 * HIDDEN, KV_HEADS * HEAD_DIM)

    def forward(self, x):
        rows = len(x)
        split = lambda y, heads: y.view(rows, heads, HEAD_DIM).transpose(0, 1)
        positions = torch.arange(rows, dtype=x.dtype)
        q = rotate(split(self.q_proj(x), HEADS), positions)
        k = rotate(split(self.k_proj(x), KV_HEADS), positions).repeat_interleave(HEADS // KV_HEADS, 0)
        v = split(self.v_proj(x), KV_HEADS).repeat_interleave(HEADS // KV_HEADS, 0)
        scores = q @ k.transpose(1, 2) / HEAD_DIM**0.5
        scores = scores.masked_fill(~torch.ones(rows, rows, dtype=torch.bool).tril(), -torch.inf)
        return self.o_proj((scores.softmax(-1) @ v).transpose(0, 1).flatten(1))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = linear(HIDDEN, INTERMEDIATE), linear(HIDDEN, INTERMEDIATE), linear(INTERMEDIATE, HIDDEN)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = Attention(), Mlp()
        self.hidden_norm, self.input_layernorm, self.post_attention_layernorm = Norm(), Norm(), Norm()

    def forward(self, embedded, feature):
        x = feature + self.self_attn(torch.cat([self.input_layernorm(embedded), self.hidden_norm(feature)], -1))
        return x + self.mlp(self.post_attention_layernorm(x))


class Eagle3(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB, HIDDEN)
        self.fc, self.midlayer, self.norm, self.lm_head = linear(3 * HIDDEN, HIDDEN), Layer(), Norm(), linear(HIDDEN, DRAFT_VOCAB)


torch.manual_seed(1)
model = Eagle3()
for name, weight in model.named_parameters():
    if name.endswith("norm.weight") or name.endswith("layernorm.weight"): weight.data.uniform_(0.5, 1.5)
    else: weight.data.normal_(std=1.5 / weight.shape[-1] ** 0.5)
    weight.data = weight.data.half()
weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}
tokens = torch.randperm(VOCAB)[:DRAFT_VOCAB].sort().values
weights["d2t"] = tokens - torch.arange(DRAFT_VOCAB)
weights["t2d"] = torch.zeros(VOCAB, dtype=torch.bool).index_fill(0, tokens, True)
levels = torch.randn(len(KNOWN) - 1, 3 * HIDDEN).half()

model = model.double()
with torch.no_grad():
    fused = model.fc(levels.double())

    def outputs(path):
        """What the layer gives for the known rows, which hold the next token each, and for drafted tokens below them."""
        feature, out = fused, None
        for drafted in range(len(path) + 1):
            rows = torch.tensor(KNOWN[1:] + path[:drafted])
            if drafted > 0: feature = torch.cat([feature, out[-1:]])
            out = model.midlayer(model.embed_tokens(rows), feature)
        return model.lm_head(model.norm(out[-1]))

    def path_of(node):
        return [] if node == 0 else path_of(TREE[node - 1][1]) + [TREE[node - 1][0]]

    logits = [outputs(path_of(node)).tolist() for node in range(len(TREE) + 1)]

folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixture")
os.makedirs(folder, exist_ok=True)
save_file(weights, os.path.join(folder, "model.safetensors"))
config = dict(
    architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=HIDDEN, num_hidden_layers=1, num_attention_heads=HEADS,
    num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, intermediate_size=INTERMEDIATE, vocab_size=VOCAB, draft_vocab_size=DRAFT_VOCAB,
    max_position_embeddings=64, rms_norm_eps=EPS, rope_theta=THETA, hidden_act="silu", tie_word_embeddings=False, torch_dtype="float16",
)
with open(os.path.join(folder, "config.json"), "w") as file: json.dump(config, file, indent=2); file.write("\n")
expected = dict(known=KNOWN, tree=TREE, draftTokenIds=tokens.tolist(), levels=levels.double().tolist(), logits=logits)
with open(os.path.join(folder, "expected.json"), "w") as file: json.dump(expected, file); file.write("\n")
