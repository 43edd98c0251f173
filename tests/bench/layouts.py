#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What two ranks gain over one on the 124M decoder: rounds that interleave the layouts, one thread a
rank, the first step of each run left out. Needs token files (launch/quickstart.sh makes them).

  tests/bench/layouts.py build/release/tessera [rounds [WORD]]   # WORD: layouts that have it in their name

For the pipeline it also asks the trace for the times of F, B and W and compares the step with what
the plan takes on a clock with these times (stages weighted as they were measured).
"""
import collections
import json
import os
import statistics
import subprocess
import sys
import tempfile

STEPS = 6
COMMON = [
    "data.train=corpora/kjv/train", "data.validation=null", "data.tokenizer=null",
    "data.sequence_length=256", "batch.micro=4", f"run.steps={STEPS}", "lr_schedule.kind=constant", "run.eval_every=0",
    "checkpoint.every=0", "metrics.tensorboard=false",
]
LAYOUTS = {
    "one rank": (1, ["batch.global=4"]),
    "data=2": (2, ["batch.global=8"]),
    "data=2,zero=1": (2, ["batch.global=8", "parallel.zero=1"]),
    "tensor=2": (2, ["batch.global=4", "parallel.tensor=2"]),
}
# The head costs about five and a half blocks: nine blocks before the cut, three behind it.
PIPELINE = (2, ["batch.micro=1", "batch.global=8", "parallel.pipeline=2", "parallel.schedule=zb_h1",
                "parallel.layers_per_stage=[9, 3]", f"profile.steps={STEPS}"])


def train(tessera, ranks, overrides, directory):
    environment = dict(os.environ, OMP_NUM_THREADS="1", OMPI_ALLOW_RUN_AS_ROOT="1",
                       OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    subprocess.run(["mpirun", "--bind-to", "core", "-n", str(ranks), tessera, "train",
                    "recipes/llama_124m.yaml", "--run-dir", directory, "--resume", "none"] +
                   COMMON + overrides, check=True, env=environment, capture_output=True)
    with open(directory + "/metrics.jsonl") as lines:
        steps = [json.loads(line) for line in lines]
    return [step["tokens_per_second"] for step in steps if step["kind"] == "train"][1:]


def makespan(schedules, seconds):
    """When a plan of F, B, W on one clock ends; inputs arrive at once."""
    done, free, next_action = {}, [0.0] * len(schedules), [0] * len(schedules)
    while any(next_action[r] < len(s) for r, s in enumerate(schedules)):
        for rank, schedule in enumerate(schedules):
            if next_action[rank] == len(schedule):
                continue
            op, micro = schedule[next_action[rank]]
            needs = {"F": ("F", rank - 1, micro), "B": ("B", rank + 1, micro)}.get(op)
            waits = needs is not None and 0 <= needs[1] < len(schedules)
            if waits and needs not in done:
                continue
            start = max(free[rank], done[needs] if waits else 0.0)
            free[rank] = done[(op, rank, micro)] = start + seconds[(rank, op)]
            next_action[rank] += 1
    return max(free)


def pipeline(tessera, directory):
    ranks, overrides = PIPELINE
    rate = statistics.median(train(tessera, ranks, overrides, directory))
    events = json.load(open(directory + "/trace/trace.json"))["traceEvents"]
    waits = [e for e in events if e.get("cat") == "comm" and e["name"].startswith("receive")]
    times, schedules, span = collections.defaultdict(list), [[], []], {}
    for event in sorted((e for e in events if e["ph"] == "X"), key=lambda e: e["ts"]):
        name, rank = event["name"], event["pid"]
        if name.startswith("step"):
            continue
        if event["cat"] != "compute" or name[1:2] not in "0123456789":
            continue
        end = event["ts"] + event["dur"]
        waited = sum(w["dur"] for w in waits
                     if w["pid"] == rank and event["ts"] <= w["ts"] and w["ts"] + w["dur"] <= end)
        seconds = (event["dur"] - waited) / 1e6
        micro = int(name.split()[0].split(".")[1])
        both = name.endswith(" W")
        schedules[rank].append((name[0], micro))
        times[(rank, name[0])].append(seconds * (0.5 if both else 1))
        if both:
            schedules[rank].append(("W", micro))
            times[(rank, "W")].append(seconds * 0.5)
        first, last = span.get(rank, (event["ts"], end))
        span[rank] = (min(first, event["ts"]), max(last, end))
    seconds = {key: statistics.mean(values) for key, values in times.items()}
    measured = (max(s[1] for s in span.values()) - min(s[0] for s in span.values())) / 1e6
    return rate, measured, makespan(schedules, seconds)


def main():
    tessera, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    word = sys.argv[3] if len(sys.argv) > 3 else ""
    layouts = {name: how for name, how in LAYOUTS.items() if word in name or name == "one rank"}
    rates = collections.defaultdict(list)
    ratios = []
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds):
            for name, (ranks, overrides) in layouts.items():
                rates[name].append(statistics.median(
                    train(tessera, ranks, overrides, directory + "/run")))
            if word in "pipeline":
                _, measured, simulated = pipeline(tessera, directory + "/run")
                ratios.append(measured / simulated)
    for name, values in rates.items():
        pairs = sorted(v / o for v, o in zip(values, rates["one rank"]))
        print(f"{name:13s} {statistics.median(values):7.1f} tokens/s   "
              f"{statistics.median(pairs):5.3f} x one rank   "
              f"pairs [{pairs[0]:.3f} .. {pairs[-1]:.3f}]")
    ratios.sort()
    if not ratios:
        return
    print(f"pipeline=2 zb_h1, 8 microbatches: {statistics.median(ratios):.3f} of the simulated time "
          f"[{ratios[0]:.3f} .. {ratios[-1]:.3f}]")


if __name__ == "__main__":
    main()
