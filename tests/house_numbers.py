#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what makes the house easy or hard to live in, for tables in docs/log.

usage: tests/house_numbers.py [TREE ...]

TREE is a checkout of the project (default: this one); several are shown side by side. What is
counted is sources of the rooms, not tests.
"""
import collections
import os
import re
import sys

ROOMS = ("kernels", "parallel", "data", "checkpoint", "trainer", "launch")


def read_sources(tree):
    """Returns the text of each source and header of the rooms by its path in the tree."""
    sources = {}
    for room in ROOMS:
        for folder, _, files in os.walk(os.path.join(tree, room)):
            for file in files:
                if file.endswith((".h", ".cc", ".cu", ".cuh")):
                    path = os.path.join(folder, file)
                    with open(path, encoding="utf-8") as text:
                        sources[os.path.relpath(path, tree)] = text.read()
    return sources


def includes(text):
    return re.findall(r'^#include "([^"]+)"', text, re.M)


def reaches(sources, start, goal):
    """Tells whether the header `start` includes `goal`, directly or through others."""
    seen, todo = set(), [start]
    while todo:
        path = todo.pop()
        if path == goal:
            return True
        if path not in seen and path in sources:
            seen.add(path)
            todo += includes(sources[path])
    return False


def long_functions(text, limit=60):
    """Counts bodies of functions, opened at the margin or in a class, of more than `limit` lines."""
    count, opened = 0, {}
    for number, line in enumerate(text.split("\n")):
        indent = len(line) - len(line.lstrip(" "))
        if indent <= 2 and line.endswith("{") and not re.match(
                r" *(namespace|class|struct|enum|union|extern|\}|#|constexpr|inline constexpr|const )",
                line):
            opened[indent] = number
        elif indent in opened and line.strip() == "}":
            count += number - opened.pop(indent) > limit
    return count


def public_functions(sources, name):
    """Counts the functions that a class offers: declarations at the first level of its public part."""
    for path, text in sources.items():
        match = re.search(r"^(?:class|struct) " + name + r"\b[^;{]*\{(.*?)^\};", text, re.M | re.S)
        if not match:
            continue
        body = re.split(r"^ private:", match.group(1), maxsplit=1, flags=re.M)[0]
        return sum(1 for line in body.split("\n")
                   if re.match(r"  [A-Za-z~\[].*\(", line) and not line.startswith("  //"))
    return None


def numbers(tree):
    sources = read_sources(tree)
    rows = {}
    flat = collections.Counter(os.path.dirname(path) for path in sources)
    for room in ("kernels", "parallel", "trainer", "trainer/model", "launch"):
        rows[f"files directly in {room}/"] = flat[room]
    rows["headers of trainer/model that reach the recipe"] = sum(
        reaches(sources, path, "trainer/recipe.h") for path in sources
        if path.startswith("trainer/model/") and path.endswith(".h"))
    for kernel in ("latent_heads", "mla_kv_assemble", "rms_norm"):
        rows[f"files that name {kernel}"] = sum(
            re.search(r"\b" + kernel, text) is not None for text in sources.values()) or "-"
    rows["files with the word cuda, but for its plugin's"] = sum(
        "cuda" in text.lower() for path, text in sources.items()
        if not path.startswith(("kernels/cuda/", "parallel/nccl", "parallel/transport/nccl")))
    rows["comparisons with a word in quotes"] = sum(
        len(re.findall(r'[=!]= "[a-z_0-9]+"', text)) for text in sources.values())
    rows["functions over 60 lines"] = sum(map(long_functions, sources.values()))
    rows["files that include nlohmann/json.hpp"] = sum(
        "<nlohmann/json.hpp>" in text for text in sources.values())
    rows["files that include CLI11"] = sum("<CLI/" in text for text in sources.values())
    for name in ("ParameterStore", "ParameterLayout", "Weights", "GradBuffers", "Optimizer"):
        count = public_functions(sources, name)
        rows[f"public functions of {name}"] = "-" if count is None else count
    return rows


def main():
    trees = sys.argv[1:] or [os.path.join(os.path.dirname(__file__), "..")]
    columns = [numbers(tree) for tree in trees]
    for label in columns[0]:
        print(f"{label:52}" + "".join(f"{str(column[label]):>8}" for column in columns))


if __name__ == "__main__":
    main()
