"""A small GPT for characters in PyTorch, with the settings of nanoGPT's README for training on a CPU.

It is the GPT of Radford et al. (2019) as Karpathy's nanoGPT has it: layer norm before attention and before the dense
layers, no biases, no dropout, and one matrix for embedding and readout.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from benchmarks.language.task import CONTEXT

LAYERS = 4
HEADS = 4
WIDTH = 128
BATCH = 12  # windows
RATE, LEAST_RATE = 1e-3, 1e-4  # the learning rate at its highest and at the end
WARM_UP = 100  # iterations
WEIGHT_DECAY = 0.1  # of matrices
BETAS = (0.9, 0.99)
CLIP_NORM = 1.0


class Layer(nn.Module):  # type: ignore[misc]
    """Causal attention, then two dense layers, each added to its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.heads = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.from_heads = nn.Linear(WIDTH, WIDTH, bias=False)
        self.wide = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.from_wide = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Any) -> Any:
        """(B, T, C) to the same."""
        before_attention, before_wide = self.norms
        parts = self.heads(before_attention(x)).split(WIDTH, dim=-1)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.from_heads(attended.transpose(1, 2).flatten(-2))
        return x + self.from_wide(functional.gelu(self.wide(before_wide(x))))


class GPT(nn.Module):  # type: ignore[misc]
    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary_size, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.Sequential(*(Layer() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, param in self.named_parameters():
            if param.dim() > 1:
                ends = name.endswith(("from_heads.weight", "from_wide.weight"))  # what is added up over the layers
                nn.init.normal_(param, std=0.02 / math.sqrt(2 * LAYERS) if ends else 0.02)

    def forward(self, tokens: Any) -> Any:
        """Tokens (B, T) to logits (B, T, V) of the ones after them."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        return self.norm(self.layers(x)) @ self.tokens.weight.T


def losses(model: GPT, windows: Any) -> Any:
    """Cross-entropies (B, T) in nats of windows (B, T + 1)."""
    return functional.cross_entropy(model(windows[:, :-1]).transpose(1, 2), windows[:, 1:], reduction="none")


def make_optimizer(model: GPT) -> Any:
    """AdamW, in PyTorch's version that updates all weights at once."""
    matrices = [param for param in model.parameters() if param.dim() > 1]
    others = [param for param in model.parameters() if param.dim() == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=True)


def train_step(model: GPT, optimizer: Any, windows: Any, rate: float) -> None:
    """One iteration on windows (B, T + 1)."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    losses(model, windows).mean().backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    optimizer.step()


def learning_rate(iteration: int, iterations: int) -> float:
    """Rises linearly, then falls along a cosine to a tenth at the last of so many iterations."""
    if iteration < WARM_UP:
        return RATE * iteration / WARM_UP
    share = (iteration - WARM_UP) / (iterations - WARM_UP)
    return LEAST_RATE + (RATE - LEAST_RATE) * (1 + math.cos(math.pi * share)) / 2
