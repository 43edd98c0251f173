// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/schedule.h"

#include <algorithm>
#include <charconv>

#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr std::string_view kLetters = "FBW";  // in the order of Op

std::string to_string(const Action& action) {
  return std::string(1, kLetters[static_cast<size_t>(action.op)]) + std::to_string(action.chunk) +
         "." + std::to_string(action.micro);
}

Action parse_action(std::string_view word) {
  const size_t op = word.empty() ? std::string_view::npos : kLetters.find(word[0]);
  Action action{Op::forward, 0, 0};
  const char* end = word.data() + word.size();
  if (op != std::string_view::npos) {
    action.op = static_cast<Op>(op);
    const auto chunk = std::from_chars(word.data() + 1, end, action.chunk);
    if (chunk.ec == std::errc() && chunk.ptr != end && *chunk.ptr == '.') {
      const auto micro = std::from_chars(chunk.ptr + 1, end, action.micro);
      if (micro.ec == std::errc() && micro.ptr == end && action.chunk >= 0 && action.micro >= 0)
        return action;
    }
  }
  fail(ErrorKind::usage, "schedule: '" + std::string(word) + "' is not an action like F0.3");
}

}  // namespace

std::string to_string(const Schedule& schedule) {
  std::string text;
  for (const Action& action : schedule) text += (text.empty() ? "" : " ") + to_string(action);
  return text;
}

Schedule parse_schedule(std::string_view text) {
  Schedule schedule;
  constexpr std::string_view kBlank = " \t\r\n";
  size_t start = text.find_first_not_of(kBlank);
  while (start != std::string_view::npos) {
    const size_t end = std::min(text.find_first_of(kBlank, start), text.size());
    schedule.push_back(parse_action(text.substr(start, end - start)));
    start = text.find_first_not_of(kBlank, end);
  }
  return schedule;
}

Plan one_f_one_b(int num_stages, int num_micro) {
  Plan plan{.num_micro = num_micro, .ranks = {}, .stage_of_chunk = {}};
  for (int stage = 0; stage < num_stages; ++stage) {
    Schedule schedule;
    const int warmup = std::min(num_stages - stage - 1, num_micro);
    for (int m = 0; m < warmup; ++m) schedule.push_back({Op::forward, 0, m});
    for (int m = 0; m < num_micro; ++m) {
      if (warmup + m < num_micro) schedule.push_back({Op::forward, 0, warmup + m});
      schedule.push_back({Op::backward_input, 0, m});
      schedule.push_back({Op::backward_weight, 0, m});
    }
    plan.ranks.push_back(std::move(schedule));
    plan.stage_of_chunk.push_back({stage});
  }
  return plan;
}

void check_plan(const Plan& plan) {
  check(plan.ranks.size() == plan.stage_of_chunk.size(), "plan: ranks without placement");
  for (size_t rank = 0; rank < plan.ranks.size(); ++rank) {
    const size_t num_chunks = plan.stage_of_chunk[rank].size();
    // How far each (chunk, micro) has come: 0 nothing, 1 after F, 2 after B, 3 after W.
    std::vector<int> progress(num_chunks * static_cast<size_t>(plan.num_micro), 0);
    std::vector<int> next_weight(num_chunks, 0);
    for (const Action& action : plan.ranks[rank]) {
      const std::string where = "plan: rank " + std::to_string(rank) + ", " + to_string(action);
      const auto chunk = static_cast<size_t>(action.chunk);
      check(action.chunk >= 0 && chunk < num_chunks && action.micro >= 0 &&
                action.micro < plan.num_micro,
            where, "is outside the plan");
      int& step =
          progress[chunk * static_cast<size_t>(plan.num_micro) + static_cast<size_t>(action.micro)];
      check(step == static_cast<int>(action.op), where, "comes twice or before its time");
      ++step;
      if (action.op == Op::backward_weight)
        check(next_weight[chunk]++ == action.micro, where,
              "breaks the increasing microbatch order of weight gradients");
    }
    check(std::all_of(progress.begin(), progress.end(), [](int step) { return step == 3; }),
          "plan: rank", rank, "does not finish every microbatch");
  }
}

}  // namespace tessera
