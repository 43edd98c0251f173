#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""recipes/deepseek_tiny.yaml beside a dense model of equal active parameters: the same tokens, batch,
attention and schedule, four learning rates and three seeds each. The dense model's feed-forward
networks are as wide as what a token of the mixture meets: (512 + 3 x (4 + 1) x 128) / 4 = 608. Needs
the quickstart's data (launch/quickstart.sh makes it).

  tests/bench/moe_versus_dense.py build/ci/tessera DIRECTORY

Runs that are done already, in DIRECTORY, are not made again. Prints bits/byte on the validation
text: the mean of the seeds for each rate, and the best rate's seeds.
"""
import json
import os
import statistics
import subprocess
import sys

RATES = ["1.25e-3", "2.5e-3", "5e-3", "1e-2"]
SEEDS = [42, 43, 44]
ALONE = ["model.num_nextn_predict_layers=0"]
MODELS = {
    "mixture, MTP": [],
    "mixture": ALONE,
    "dense": ALONE + ["model.first_k_dense_replace=4", "model.intermediate_size=608",
                      "router.balance=none", "router.sequence_aux_loss=0"],
}


def bits_per_byte(tessera, directory, overrides):
    if not os.path.exists(directory + "/done"):
        wrap = os.environ.get("RUN", "").split()  # e.g. a lock or a queue
        subprocess.run(wrap + [tessera, "launch", "recipes/deepseek_tiny.yaml", "-n", "2", "--run-dir",
                               directory, "--resume", "none", "checkpoint.every=0",
                               "metrics.tensorboard=false"] + overrides,
                       check=True, capture_output=True)
        open(directory + "/done", "w").close()
    with open(directory + "/metrics.jsonl") as lines:
        evaluations = [line for line in map(json.loads, lines) if line["kind"] == "eval"]
    return evaluations[-1]["bits_per_byte"]


def main():
    tessera, directory = sys.argv[1:3]
    for name, model in MODELS.items():
        means = {}
        for rate in RATES:
            values = []
            for seed in SEEDS:
                place = f"{directory}/{name.replace(', ', '_')}-{rate}-{seed}"
                os.makedirs(place, exist_ok=True)
                values.append(bits_per_byte(tessera, place, model + [
                    f"optimizer.lr={rate}", f"run.seed={seed}", f"data.seed={seed}"]))
            means[rate] = values
        best = min(means, key=lambda rate: statistics.mean(means[rate]))
        print(f"{name:13s} " + "   ".join(
            f"{rate}: {statistics.mean(values):.3f}" for rate, values in means.items()) +
            f"   best at {best}: {statistics.mean(means[best]):.3f} "
            f"[{', '.join(f'{value:.3f}' for value in means[best])}]", flush=True)


if __name__ == "__main__":
    main()
