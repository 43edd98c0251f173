// SPDX-License-Identifier: Apache-2.0
// A trace (trainer/trace_file.h) as tests want it: by rank and lane, in order.
#pragma once

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace tessera {

struct Span {
  std::string name;
  double begin = 0, end = 0;  // in microseconds
};
using Lane = std::vector<Span>;  // by begin, an outer one before those in it

inline std::map<int, std::map<std::string, Lane>> read_trace(const std::string& path) {
  std::ifstream file(path);
  const nlohmann::json trace = nlohmann::json::parse(file);
  std::map<std::pair<int, int>, std::string> names;
  std::map<int, std::map<std::string, Lane>> lanes;
  for (const auto& event : trace["traceEvents"])
    if (event["name"] == "thread_name") names[{event["pid"], event["tid"]}] = event["args"]["name"];
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    const double begin = event["ts"], end = begin + event["dur"].get<double>();
    lanes[event["pid"]][names.at({event["pid"], event["tid"]})].push_back(
        {event["name"], begin, end});
  }
  for (auto& [rank, of_rank] : lanes)
    for (auto& [name, lane] : of_rank)
      std::stable_sort(lane.begin(), lane.end(), [](const Span& a, const Span& b) {
        return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
      });
  return lanes;
}

// A lane can be drawn: each of its spans ends before the next begins, or after it ends.
inline void expect_nested(const Lane& lane) {
  constexpr double kRounding = 1e-2;
  std::vector<Span> open;
  for (const Span& span : lane) {
    EXPECT_LE(span.begin, span.end) << span.name;
    while (!open.empty() && open.back().end <= span.begin + kRounding) open.pop_back();
    EXPECT_TRUE(open.empty() || span.end <= open.back().end + kRounding) << span.name;
    open.push_back(span);
  }
}

// Those whose names start so.
inline Lane named(const Lane& lane, const std::string& start) {
  Lane found;
  for (const Span& span : lane)
    if (span.name.starts_with(start)) found.push_back(span);
  return found;
}

}  // namespace tessera
