#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/expert_groups.json: which experts DeepSeek-V3's router chooses, and their
weights, for every number of experts a token from 1 to 8 and several sizes of groups.

The rules are written down here once more, in plain Python and double precision, from DeepSeek's
inference code: sigmoid scores; a group's score is the sum of its best two scores with their biases;
experts of groups that are not kept are never chosen; weights are the chosen scores without biases,
over their sum, times the factor. With --check the same is asked of transformers' DeepseekV3TopkRouter
(needs torch and transformers; written for 5.24.0).
"""
import json
import math
import pathlib
import random
import sys

FACTOR = 2.5
ROWS = 12
CASES = [dict(experts=16, n_group=4, topk_group=2), dict(experts=24, n_group=3, topk_group=1),
         dict(experts=32, n_group=8, topk_group=4), dict(experts=20, n_group=5, topk_group=2)]


def choose(logits, bias, n_group, topk_group, k):
    """The chosen experts, best first, and their weights; and how clear the choice was."""
    scores = [1 / (1 + math.exp(-z)) for z in logits]
    biased = [s + b for s, b in zip(scores, bias)]
    each = len(logits) // n_group
    groups = [sum(sorted(biased[g * each:(g + 1) * each])[-2:]) for g in range(n_group)]
    by_group = sorted(range(n_group), key=lambda g: -groups[g])
    allowed = [e for g in by_group[:topk_group] for e in range(g * each, (g + 1) * each)]
    by_score = sorted(allowed, key=lambda e: -biased[e])
    chosen = by_score[:k]
    total = sum(scores[e] for e in chosen) + 1e-20
    ordered = [groups[g] for g in by_group[:topk_group + 1]]
    ordered_experts = [biased[e] for e in by_score[:k + 1]]
    margin = min(a - b for some in (ordered, ordered_experts) for a, b in zip(some, some[1:]))
    return chosen, [FACTOR * scores[e] / total for e in chosen], margin


def ask_transformers(case, k, logits, bias):
    import torch
    from transformers import DeepseekV3Config
    from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter
    experts = case["experts"]
    config = DeepseekV3Config(hidden_size=experts, n_routed_experts=experts, num_experts_per_tok=k,
                              n_group=case["n_group"], topk_group=case["topk_group"],
                              norm_topk_prob=True, routed_scaling_factor=FACTOR)
    router = DeepseekV3TopkRouter(config)
    router.weight.data = torch.eye(experts)
    router.e_score_correction_bias = torch.tensor(bias)
    _, weights, index = router(torch.tensor([logits]))
    return dict(zip(index[0].tolist(), weights[0].tolist()))


def main():
    check = "--check" in sys.argv
    draw = random.Random(20261130)
    cases = []
    for case in CASES:
        each = case["experts"] // case["n_group"]
        rows = []
        while len(rows) < ROWS:
            logits = [round(draw.gauss(0, 1.5), 3) for _ in range(case["experts"])]
            bias = [round(draw.uniform(-0.3, 0.3), 3) for _ in range(case["experts"])]
            most = min(8, each * case["topk_group"])
            answers = [choose(logits, bias, case["n_group"], case["topk_group"], k)
                       for k in range(1, most + 1)]
            if min(margin for _, _, margin in answers) < 1e-4:
                continue  # f32 might round the choice another way
            rows.append(dict(logits=logits, bias=bias,
                             chosen=[index for index, _, _ in answers],
                             weights=[[round(w, 9) for w in weights] for _, weights, _ in answers]))
            if check:
                for k, (index, weights, _) in enumerate(answers, 1):
                    theirs = ask_transformers(case, k, logits, bias)
                    assert set(theirs) == set(index), (case, k, index, theirs)
                    assert all(abs(theirs[e] - w) < 1e-5 for e, w in zip(index, weights))
        cases.append(case | dict(factor=FACTOR, rows=rows))
    text = json.dumps(cases).replace('{"logits', '\n{"logits').replace("}, {\"experts", "},\n{\"experts")
    (pathlib.Path(__file__).parent / "expert_groups.json").write_text(text + "\n")
    print(f"{len(cases)} cases{', transformers agrees' if check else ''}")


if __name__ == "__main__":
    main()
