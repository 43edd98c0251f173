// SPDX-License-Identifier: Apache-2.0
// This file is empty: its target holds the headers that all tests share precompiled.
