#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/gpu/tree_hash.sh: one word for everything that programs are built from, the same wherever the
# tree is copied to, whatever happened to the files' times. Scripts and texts are left out.
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C
find CMakeLists.txt cmake kernels parallel data checkpoint trainer launch tests -type f \
  ! -name '*.md' ! -name '*.sh' ! -name '*.py' ! -name '*.tsv' -print0 | sort -z | xargs -0 sha256sum |
  sha256sum | cut -c1-32
