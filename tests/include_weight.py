#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Lists the headers whose change compiles the most objects again.

usage: tests/include_weight.py [BUILD] [--most N] [HEADER ...]

BUILD is a folder that ninja has built in (default: build/ci); what it compiled tells which files each
object was made from. With HEADERs, such as kernels/backend.h, only those are told.
"""
import argparse
import collections
import os
import subprocess


def dependencies(build):
    """Yields each object with the files that it was made from, as ninja knows them."""
    text = subprocess.run(["ninja", "-C", build, "-t", "deps"], check=True, capture_output=True,
                          text=True).stdout
    for block in text.split("\n\n"):
        lines = [line.strip() for line in block.splitlines() if not line.startswith("ninja: ")]
        if lines and "deps not found" not in lines[0]:
            yield lines[0].split(":")[0], lines[1:]


def weights(build, root):
    """Returns the number of objects, and for each header of the project how many need it."""
    objects, counts = 0, collections.Counter()
    for name, files in dependencies(build):
        if not name.endswith(".o"):
            continue
        objects += 1
        paths = {os.path.relpath(os.path.join(build, file), root) for file in files}
        counts.update(path for path in paths
                      if not path.startswith("..") and path.endswith((".h", ".cuh")))
    return objects, counts


def main():
    root = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", default=os.path.join(root, "build", "ci"))
    parser.add_argument("--most", type=int, default=25, help="how many headers are listed")
    parser.add_argument("headers", nargs="*", metavar="HEADER")
    words = parser.parse_args()
    objects, counts = weights(os.path.realpath(words.build), root)
    print(f"{objects} objects; those that a change of the header compiles again:")
    rows = [(header, counts[header]) for header in words.headers] or counts.most_common(words.most)
    for header, count in rows:
        print(f"{count:5d}  {header}")


if __name__ == "__main__":
    main()
