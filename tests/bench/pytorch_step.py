#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training steps of the models of `tessera bench step` in PyTorch, on the CPU or a GPU.

  python3 tests/bench/pytorch_step.py [--model llama_124m] [--device cpu] [--dtype bf16] [-B 4]
                                      [-T 1024] [--threads 2] [--rounds 5] [--no-compile]

On a GPU the model goes through torch.compile and AdamW is fused. Prints tokens/s like `tessera
bench step`; run both alternately, or in one call on one machine, and compare the medians.
"""
import argparse
import sys
import time

try:
    import torch
except ImportError:
    print("pytorch_step.py: PyTorch is not installed here: no peer measured")
    sys.exit(77)

from pytorch_models import SHAPES, Decoder


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=tuple(SHAPES), default="llama_124m")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="bf16")
    parser.add_argument("-B", "--batch", type=int, default=4)
    parser.add_argument("-T", "--sequence", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    device, gpu = options.device, options.device == "cuda"
    if gpu and not torch.cuda.is_available():
        print(f"pytorch_step.py: PyTorch {torch.__version__} finds no GPU: no peer measured")
        sys.exit(77)
    if not gpu:
        torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    shape = SHAPES[options.model]
    with torch.device(device):
        model = Decoder(shape, options.sequence)
        tokens = torch.randint(shape.vocab, (options.batch, options.sequence + 1))
    compiled = gpu and not options.no_compile
    forward = torch.compile(model) if compiled else model
    fused = {"fused": True} if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 4) else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), **fused)

    def step():
        with torch.autocast(device, torch.bfloat16, enabled=options.dtype == "bf16"):
            loss = forward(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if gpu:
            torch.cuda.synchronize()

    seconds = []
    warm_up = 3 if gpu else 1
    for _ in range(options.rounds + warm_up):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[warm_up:])
    count = options.batch * options.sequence
    where = (torch.cuda.get_device_name() + (", compiled" if compiled else "") if gpu
             else f"{options.threads} threads")
    print(f"PyTorch {torch.__version__}, {options.model}, {options.dtype}, {where}: "
          f"{count / seconds[len(seconds) // 2]:.1f} tokens/s "
          f"[{count / seconds[-1]:.1f} .. {count / seconds[0]:.1f}]")


if __name__ == "__main__":
    main()
