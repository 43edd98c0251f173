#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where the time of a step goes: each range of a trace without those inside it, as a share of the
traced steps, mean over ranks; of ranks with a GPU, the time of the GPU's computing.

  tessera launch recipes/deepseek_124m.yaml -n 2 --steps 6 profile.steps=3-5 ...
  tests/bench/shares.py RUN/trace/trace.json
"""
import collections
import json
import re
import sys


def name_of(event):
    name = event["name"]
    if event["cat"] == "step":
        return "step" if name.startswith("step") else name
    if event["cat"] == "compute" and re.match(r"[FBW]\d", name):
        return "embedding, loss head, MTP and the rest of " + ("forward" if name[0] == "F" else "backward")
    return ("communication: " if event["cat"] == "comm" else "") + name


def main():
    everything = json.load(open(sys.argv[1]))["traceEvents"]
    events = [e for e in everything if e["ph"] == "X"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in everything if e["name"] == "thread_name"}
    on_gpu = {pid for (pid, _), name in names.items() if name == "GPU compute"}
    own, steps = collections.Counter(), 0.0
    for lane in {(e["pid"], e["tid"]) for e in events}:
        if lane[0] in on_gpu and names[lane] != "GPU compute":
            continue
        open_ranges = []
        mine = sorted((e for e in events if (e["pid"], e["tid"]) == lane),
                      key=lambda e: (e["ts"], -e["dur"]))
        if not any(name_of(e) == "step" for e in mine):
            continue
        for event in mine:
            while open_ranges and open_ranges[-1]["ts"] + open_ranges[-1]["dur"] <= event["ts"]:
                open_ranges.pop()
            if open_ranges:
                own[name_of(open_ranges[-1])] -= event["dur"]
            if name_of(event) == "step":
                steps += event["dur"]
            own[name_of(event)] += event["dur"]
            open_ranges.append(event)
    for name, time in own.most_common():
        print(f"{100 * time / steps:6.1f} %  {'gradients cleared, norm, bookkeeping' if name == 'step' else name}")


if __name__ == "__main__":
    main()
