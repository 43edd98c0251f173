#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/{deepseek_v3,deepseek_v3_yarn,llama}_random: small random models with the
logits, loss and gradients that Hugging Face transformers gives them, in f32 on the CPU.

Needs torch and transformers (made with 2.15.0 and 5.24.0); never needed to build or test:
    python3 -m venv venv && venv/bin/pip install torch transformers
    venv/bin/python tests/golden/make_deepseek_vectors.py
"""
import json
import pathlib
import struct

import torch
import transformers
from transformers import (DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM,
                          LlamaConfig, LlamaForCausalLM)

HERE = pathlib.Path(__file__).parent

V3 = dict(model_type="deepseek_v3", vocab_size=61, hidden_size=40, intermediate_size=56,
          moe_intermediate_size=16, num_hidden_layers=3, first_k_dense_replace=1,
          num_attention_heads=4, num_key_value_heads=4, n_routed_experts=8, n_shared_experts=1,
          num_experts_per_tok=4, n_group=4, topk_group=2, norm_topk_prob=True,
          routed_scaling_factor=2.5, q_lora_rank=20, kv_lora_rank=12, qk_nope_head_dim=8,
          qk_rope_head_dim=6, v_head_dim=10, rope_theta=10000.0, rms_norm_eps=1e-6,
          max_position_embeddings=64, tie_word_embeddings=False)
YARN = V3 | dict(max_position_embeddings=32, n_routed_experts=6, num_experts_per_tok=3, n_group=1, topk_group=1,
                 norm_topk_prob=False, n_shared_experts=2, q_lora_rank=None, qk_rope_head_dim=8,
                 rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=8,
                                   beta_fast=4.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=0.8))
LLAMA = dict(model_type="llama", vocab_size=61, hidden_size=40, intermediate_size=56,
             num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=12,
             rope_theta=10000.0, rms_norm_eps=1e-5, max_position_embeddings=64,
             tie_word_embeddings=False)


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        header[name] = dict(dtype="F32", shape=list(tensor.shape),
                            data_offsets=[offset, offset + 4 * tensor.numel()])
        offset += 4 * tensor.numel()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.detach().float().contiguous().numpy().tobytes())


def hub_names(named):
    """Experts that transformers keeps as one tensor, under the names of hub checkpoints."""
    tensors = {}
    for name, tensor in named:
        if name.endswith("mlp.experts.gate_up_proj"):
            for expert, matrix in enumerate(tensor):
                gate, up = matrix.chunk(2)
                stem = f"{name.removesuffix('gate_up_proj')}{expert}."
                tensors[stem + "gate_proj.weight"] = gate
                tensors[stem + "up_proj.weight"] = up
        elif name.endswith("mlp.experts.down_proj"):
            for expert, matrix in enumerate(tensor):
                stem = f"{name.removesuffix('down_proj')}{expert}."
                tensors[stem + "down_proj.weight"] = matrix
        else:
            tensors[name] = tensor
    return tensors


def make(name, options, kind, config_kind, seed):
    torch.manual_seed(seed)
    arguments = {key: value for key, value in options.items() if key != "model_type"}
    scaling = dict(arguments.pop("rope_scaling", None) or dict(type="default"))
    scaling["rope_type"] = scaling.pop("type")
    scaling["rope_theta"] = arguments.pop("rope_theta")
    model = kind(config_kind(**arguments, rope_parameters=scaling,
                             attn_implementation="eager")).float().eval()
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            noise = torch.randn_like(tensor)
            tensor.copy_(1 + 0.1 * noise if "norm" in key else 0.15 * noise)
        for key, tensor in model.named_buffers():
            if key.endswith("e_score_correction_bias") and "rope_scaling" in options:
                tensor.copy_(0.1 * torch.randn_like(tensor))
    tokens = torch.randint(0, options["vocab_size"], (2, 12))
    logits = model(tokens).logits
    loss = torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]),
                                             tokens[:, 1:].reshape(-1))
    loss.backward()
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    biases = [(key, tensor) for key, tensor in model.named_buffers()
              if key.endswith("e_score_correction_bias")]
    write_safetensors(folder / "model.safetensors",
                      hub_names(list(model.named_parameters()) + biases))
    write_safetensors(folder / "grads.safetensors",
                      hub_names((key, tensor.grad) for key, tensor in model.named_parameters()))
    (folder / "config.json").write_text(json.dumps(options, indent=1) + "\n")
    golden = dict(source=f"transformers {transformers.__version__} {kind.__name__}, "
                         f"torch {torch.__version__}, f32, CPU; make_deepseek_vectors.py",
                  tokens=tokens.tolist(), loss=loss.item(),
                  logits=[[[float(f"{x:.7g}") for x in row] for row in one]
                          for one in logits.tolist()])
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(name, sum(p.numel() for p in model.parameters()), "parameters, loss", loss.item())


def follow(name):
    """Adds to a golden model the ten AdamW steps of its "train" with every expert updated in each of
    them: transformers keeps a layer's experts in one tensor, so an expert without tokens has a
    gradient of zeros. The model's own code has one module an expert, and none for such a one."""
    folder = HERE / name
    golden = json.loads((folder / "golden.json").read_text())
    model = DeepseekV2ForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                  attn_implementation="eager").train()
    tokens = torch.tensor(golden["tokens"])
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([dict(params=matrices, weight_decay=0.1),
                                   dict(params=others, weight_decay=0)],
                                  lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for _ in range(10):
        optimizer.zero_grad()
        logits = model(tokens).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]),
                                                 tokens[:, 1:].reshape(-1))
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        losses.append(loss.item())
        optimizer.step()
    golden |= dict(every_expert_source=f"transformers {transformers.__version__}, torch "
                                       f"{torch.__version__}, f32, CPU; make_deepseek_vectors.py",
                   every_expert_train_loss=losses, every_expert_train_grad_norm=norms)
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


make("deepseek_v3_random", V3, DeepseekV3ForCausalLM, DeepseekV3Config, 1)
make("deepseek_v3_yarn_random", YARN, DeepseekV3ForCausalLM, DeepseekV3Config, 2)
make("llama_random", LLAMA, LlamaForCausalLM, LlamaConfig, 3)
follow("deepseek_v2_tiny")
