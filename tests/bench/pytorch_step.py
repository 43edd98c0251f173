#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One training step of the decoder of `tessera bench step` in PyTorch, on the CPU.

  python3 tests/bench/pytorch_step.py [--dtype bf16] [-B 4] [-T 1024] [--threads 2] [--rounds 5]

Prints tokens/s like `tessera bench step`; run both alternately and compare the medians.
"""
import argparse
import time

import torch
import torch.nn.functional as F

HIDDEN, LAYERS, HEADS, WIDTH, VOCAB = 768, 12, 12, 2048, 50304


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Norm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x):
        scale = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
        return (x.float() * scale).to(x.dtype) * self.weight


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        self.norm_1, self.norm_2 = Norm(), Norm()
        self.qkv, self.out = linear(HIDDEN, 3 * HIDDEN), linear(HIDDEN, HIDDEN)
        self.gate_up, self.down = linear(HIDDEN, 2 * WIDTH), linear(WIDTH, HIDDEN)

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        q, k, v = (p.view(b, t, HEADS, -1).transpose(1, 2)
                   for p in self.qkv(self.norm_1(x)).split(HIDDEN, dim=-1))
        y = F.scaled_dot_product_attention(rotate(q, cos, sin).to(v.dtype),
                                           rotate(k, cos, sin).to(v.dtype), v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, HIDDEN))
        gate, up = self.gate_up(self.norm_2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Decoder(torch.nn.Module):
    def __init__(self, length):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCAB, HIDDEN)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = Norm()
        for parameter in self.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.02)
        half = HIDDEN // HEADS // 2
        angle = torch.outer(torch.arange(length), 10000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(logits.view(-1, VOCAB).float(), targets.view(-1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="bf16")
    parser.add_argument("-B", "--batch", type=int, default=4)
    parser.add_argument("-T", "--sequence", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = Decoder(options.sequence)
    fused = {"fused": True} if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 4) else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), **fused)
    tokens = torch.randint(VOCAB, (options.batch, options.sequence + 1))
    seconds = []
    for _ in range(options.rounds + 1):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bf16"):
            loss = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[1:])
    count = options.batch * options.sequence
    print(f"PyTorch {torch.__version__}, {options.dtype}, {options.threads} threads: "
          f"{count / seconds[len(seconds) // 2]:.1f} tokens/s "
          f"[{count / seconds[-1]:.1f} .. {count / seconds[0]:.1f}]")


if __name__ == "__main__":
    main()
