// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/schedule.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace tessera {
namespace {

constexpr std::array<std::string_view, 9> kNames = {"F",  "B",  "W", "sF", "rF",
                                                    "sB", "rB", "G", "R"};  // in the order of Op
constexpr std::string_view kBlank = " \t\r\n";

// The next word of `text`, which is cut off; empty at the end.
std::string_view next_word(std::string_view& text) {
  const size_t start = std::min(text.find_first_not_of(kBlank), text.size());
  const size_t end = std::min(text.find_first_of(kBlank, start), text.size());
  const std::string_view word = text.substr(start, end - start);
  text.remove_prefix(end);
  return word;
}

// A number from 0 up at the front of `text`, which is cut off; -1 when there is none.
int next_number(std::string_view& text) {
  int value = -1;
  if (text.empty() || text[0] < '0' || text[0] > '9') return -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return -1;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

Action parse_action(std::string_view word) {
  const size_t digits = std::min(word.find_first_of("0123456789"), word.size());
  const auto* const name = std::find(kNames.begin(), kNames.end(), word.substr(0, digits));
  std::string_view rest = word.substr(digits);
  Action action{static_cast<Op>(name - kNames.begin()), next_number(rest), -1};
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    action.micro = next_number(rest);
  }
  check(name != kNames.end() && action.chunk >= 0 && action.micro >= 0 && rest.empty(),
        ErrorKind::usage, "schedule: '" + std::string(word) + "' is not an action like F0.3");
  return action;
}

// "rank 0 stages 0 3: F0.0 ..."
void parse_rank(std::string_view line, Plan& plan) {
  const size_t colon = line.find(':');
  std::string_view head = line.substr(0, colon);
  bool good = colon != std::string_view::npos && next_word(head) == "rank";
  std::string_view number = next_word(head);
  good = good && next_number(number) == plan.num_ranks() && number.empty() &&
         next_word(head) == "stages";
  std::vector<int> stages;
  for (std::string_view word = next_word(head); good && !word.empty(); word = next_word(head)) {
    stages.push_back(next_number(word));
    good = stages.back() >= 0 && word.empty();
  }
  check(good && !stages.empty(), ErrorKind::usage,
        "'" + std::string(line.substr(0, colon)) + "' is not like 'rank " +
            std::to_string(plan.num_ranks()) + " stages 0 3: F0.0 ...'");
  plan.ranks.push_back(parse_schedule(line.substr(colon + 1)));
  plan.stage_of_chunk.push_back(std::move(stages));
}

void parse_line(std::string_view line, Plan& plan) {
  std::string_view rest = line;
  const std::string_view word = next_word(rest);
  if (word.empty() || word.starts_with('#')) return;
  if (plan.num_micro > 0) return parse_rank(line, plan);
  std::string_view number = next_word(rest);
  plan.num_micro = next_number(number);
  check(word == "microbatches" && plan.num_micro > 0 && number.empty() && next_word(rest).empty(),
        ErrorKind::usage, "a plan starts with a line like 'microbatches 8'");
}

}  // namespace

int Plan::num_stages() const {
  size_t count = 0;
  for (const std::vector<int>& chunks : stage_of_chunk) count += chunks.size();
  return static_cast<int>(count);
}

int Plan::num_chunks(int rank) const {
  return static_cast<int>(stage_of_chunk[static_cast<size_t>(rank)].size());
}

int Plan::stage(int rank, int chunk) const {
  return stage_of_chunk[static_cast<size_t>(rank)][static_cast<size_t>(chunk)];
}

std::vector<StagePlace> places_of_stages(const Plan& plan, ErrorKind blame) {
  check(plan.ranks.size() == plan.stage_of_chunk.size(), blame, "plan: ranks without placement");
  std::vector<StagePlace> places(static_cast<size_t>(plan.num_stages()), StagePlace{-1, -1});
  for (int rank = 0; rank < plan.num_ranks(); ++rank)
    for (int chunk = 0; chunk < plan.num_chunks(rank); ++chunk) {
      const int stage = plan.stage(rank, chunk);
      check(stage >= 0 && stage < plan.num_stages(), blame, "plan: rank", rank, "holds stage",
            stage, "of", plan.num_stages());
      StagePlace& place = places[static_cast<size_t>(stage)];
      check(place.rank < 0, blame, "plan: rank", rank, "holds stage", stage, "which rank",
            place.rank, "already holds");
      place = {rank, chunk};
    }
  return places;
}

Message message_of(const Plan& plan, const std::vector<StagePlace>& places, int rank,
                   const Action& action) {
  const int mine = plan.stage(rank, action.chunk);
  const bool backward = action.op == Op::send_backward || action.op == Op::recv_backward;
  const int step = backward ? -1 : 1;
  const int from = is_send(action.op) ? mine : mine - step;
  return {places[static_cast<size_t>(from)], places[static_cast<size_t>(from + step)], from,
          backward, action.micro};
}

std::string to_string(const Action& action) {
  return std::string(kNames[static_cast<size_t>(action.op)]) + std::to_string(action.chunk) + "." +
         std::to_string(action.micro);
}

std::string to_string(const Schedule& schedule) {
  std::string text;
  for (const Action& action : schedule) text += (text.empty() ? "" : " ") + to_string(action);
  return text;
}

std::string to_string(const Plan& plan) {
  std::string text = "microbatches " + std::to_string(plan.num_micro) + "\n";
  for (int rank = 0; rank < plan.num_ranks(); ++rank) {
    text += "rank " + std::to_string(rank) + " stages";
    for (int chunk = 0; chunk < plan.num_chunks(rank); ++chunk)
      text += " " + std::to_string(plan.stage(rank, chunk));
    text += ": " + to_string(plan.ranks[static_cast<size_t>(rank)]) + "\n";
  }
  return text;
}

Schedule parse_schedule(std::string_view text) {
  Schedule schedule;
  for (std::string_view word = next_word(text); !word.empty(); word = next_word(text))
    schedule.push_back(parse_action(word));
  return schedule;
}

Plan parse_plan(std::string_view text) {
  Plan plan;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    try {
      parse_line(text.substr(0, end), plan);
    } catch (const Error& error) {
      fail(error.kind(), "line " + std::to_string(number) + ": " + error.what());
    }
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  check(plan.num_ranks() > 0, ErrorKind::usage, "the plan names no rank");
  return plan;
}

}  // namespace tessera
