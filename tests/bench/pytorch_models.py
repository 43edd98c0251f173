# SPDX-License-Identifier: Apache-2.0
"""The models of pytorch_step.py: plain PyTorch, in the shapes that `tessera bench step` measures.

Attention is F.scaled_dot_product_attention; experts are a loop over those of a layer, or grouped
products (torch._grouped_mm) where this PyTorch has them on a GPU.
"""
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Shape:
    hidden: int
    layers: int
    heads: int
    width: int
    vocab: int
    tied: bool = True
    # Of DeepSeek-V2's attention and experts; 0: Llama's.
    latent: int = 0
    nope: int = 0
    rope: int = 0
    value: int = 0
    experts: int = 0
    chosen: int = 0
    expert_width: int = 0
    shared: int = 0
    dense_layers: int = 0


SHAPES = {
    "llama_124m": Shape(768, 12, 12, 2048, 50304),
    "llama_1b3": Shape(2048, 24, 16, 5504, 50304),
    "deepseek_v2_lite_5": Shape(2048, 5, 16, 10944, 102400, tied=False, latent=512, nope=128,
                                rope=64, value=128, experts=64, chosen=6, expert_width=1408,
                                shared=2, dense_layers=1),
    # To see that the mixture runs.
    "deepseek_small": Shape(64, 2, 4, 96, 256, tied=False, latent=32, nope=16, rope=8, value=16,
                            experts=8, chosen=2, expert_width=32, shared=1, dense_layers=1),
}


def linear(inputs, outputs):
    return torch.nn.Linear(inputs, outputs, bias=False)


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


class Norm(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        scale = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
        return (x.float() * scale).to(x.dtype) * self.weight.to(x.dtype)


class Attention(torch.nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.qkv, self.out = linear(s.hidden, 3 * s.hidden), linear(s.hidden, s.hidden)

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        q, k, v = (p.view(b, t, self.s.heads, -1).transpose(1, 2)
                   for p in self.qkv(x).split(self.s.hidden, dim=-1))
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v,
                                           is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, -1))


class LatentAttention(torch.nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.q = linear(s.hidden, s.heads * (s.nope + s.rope))
        self.down = linear(s.hidden, s.latent + s.rope)
        self.norm = Norm(s.latent)
        self.up = linear(s.latent, s.heads * (s.nope + s.value))
        self.out = linear(s.heads * s.value, s.hidden)

    def forward(self, x, cos, sin):
        s = self.s
        b, t, _ = x.shape
        q = self.q(x).view(b, t, s.heads, -1).transpose(1, 2)
        latent, shared = self.down(x).split((s.latent, s.rope), dim=-1)
        up = self.up(self.norm(latent)).view(b, t, s.heads, -1).transpose(1, 2)
        shared = rotate(shared, cos, sin)[:, None].expand(-1, s.heads, -1, -1)
        q = torch.cat((q[..., :s.nope], rotate(q[..., s.nope:], cos, sin)), dim=-1)
        k = torch.cat((up[..., :s.nope], shared), dim=-1)
        y = F.scaled_dot_product_attention(q, k, up[..., s.nope:].contiguous(), is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, -1))


class Swiglu(torch.nn.Module):
    def __init__(self, hidden, width):
        super().__init__()
        self.gate_up, self.down = linear(hidden, 2 * width), linear(width, hidden)

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


def grouped(x, weights, counts, ends):
    """Rows of x, sorted by expert, times each expert's weights (experts, inputs, outputs)."""
    if x.is_cuda and hasattr(torch, "_grouped_mm"):
        return torch._grouped_mm(x, weights.to(x.dtype), offs=ends)
    parts = torch.split(x, counts.tolist())
    return torch.cat([part @ weights[i].to(x.dtype) for i, part in enumerate(parts)])


class Mixture(torch.nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.router = linear(s.hidden, s.experts)
        self.gate_up = torch.nn.Parameter(torch.empty(s.experts, s.hidden, 2 * s.expert_width))
        self.down = torch.nn.Parameter(torch.empty(s.experts, s.expert_width, s.hidden))
        self.shared = Swiglu(s.hidden, s.shared * s.expert_width)

    def forward(self, x):
        rows = x.reshape(-1, self.s.hidden)
        with torch.autocast(x.device.type, enabled=False):
            scores = F.linear(rows.float(), self.router.weight.float()).softmax(-1)
        weights, index = scores.topk(self.s.chosen, dim=-1)
        order = index.flatten().argsort(stable=True)
        counts = torch.bincount(index.flatten(), minlength=self.s.experts)
        ends = counts.cumsum(0).to(torch.int32)
        kind = torch.bfloat16 if torch.is_autocast_enabled(x.device.type) else rows.dtype
        inner = rows.to(kind)[order // self.s.chosen]
        gate, up = grouped(inner, self.gate_up, counts, ends).chunk(2, dim=-1)
        y = grouped(F.silu(gate) * up, self.down, counts, ends)
        y = y * weights.flatten()[order, None].to(y.dtype)
        back = torch.empty_like(y).index_copy(0, order, y)
        total = back.view(-1, self.s.chosen, self.s.hidden).sum(1)
        return self.shared(x) + total.view(x.shape).to(x.dtype)


class Block(torch.nn.Module):
    def __init__(self, s, layer):
        super().__init__()
        self.norm_1, self.norm_2 = Norm(s.hidden), Norm(s.hidden)
        self.attention = LatentAttention(s) if s.latent else Attention(s)
        mixed = s.experts > 0 and layer >= s.dense_layers
        self.mlp = Mixture(s) if mixed else Swiglu(s.hidden, s.width)

    def forward(self, x, cos, sin):
        x = x + self.attention(self.norm_1(x), cos, sin)
        return x + self.mlp(self.norm_2(x))


class Decoder(torch.nn.Module):
    def __init__(self, shape, length):
        super().__init__()
        self.shape = shape
        self.embedding = torch.nn.Embedding(shape.vocab, shape.hidden)
        self.blocks = torch.nn.ModuleList(Block(shape, i) for i in range(shape.layers))
        self.norm = Norm(shape.hidden)
        self.head = None if shape.tied else linear(shape.hidden, shape.vocab)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.02)
        half = (shape.rope or shape.hidden // shape.heads) // 2
        angle = torch.outer(torch.arange(length), 10000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        weight = self.embedding.weight if self.head is None else self.head.weight
        logits = F.linear(self.norm(x), weight)
        return F.cross_entropy(logits.view(-1, self.shape.vocab).float(), targets.reshape(-1))
