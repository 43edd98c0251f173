// SPDX-License-Identifier: Apache-2.0
#include "trainer/verify/layout.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <utility>

#include "kernels/base/random.h"
#include "parallel/pipeline/generators.h"
#include "trainer/schedule_rules.h"

namespace tessera {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    const size_t first = text.find_first_not_of(" \t\n", begin);
    if (first < end) {
      const size_t last = text.find_last_not_of(" \t\n", end - 1);
      parts.push_back(text.substr(first, last - first + 1));
    }
    begin = end + 1;
  }
  return parts;
}

int64_t whole_number(const std::string& word, const std::string& value) {
  int64_t number = 0;
  const auto read = std::from_chars(value.data(), value.data() + value.size(), number);
  check(read.ec == std::errc() && read.ptr == value.data() + value.size() && number >= 0,
        ErrorKind::usage, "--layouts: '" + word + "' wants a whole number");
  return number;
}

template <typename E>
E one_of(const std::string& word, const std::string& value) {
  std::string words;
  for (const char* each : kWords<E>) words += (words.empty() ? "" : " | ") + std::string(each);
  const auto found = value_named<E>(value);
  check(found.has_value(), ErrorKind::usage, "--layouts: '" + word + "' must be one of " + words);
  return *found;
}

Layout one_rank(const Recipe& recipe) {
  Layout layout;
  layout.parallel.data = 1;
  layout.compute = recipe.precision.compute;
  return layout;
}

void set(Layout& layout, const std::string& word) {
  const size_t equals = word.find('=');
  check(equals != std::string::npos, ErrorKind::usage,
        "--layouts: '" + word + "' is not key=value, e.g. tensor=2");
  const std::string key = word.substr(0, equals), value = word.substr(equals + 1);
  ParallelOptions& parallel = layout.parallel;
  const std::map<std::string, int64_t*> numbers = {{"data", &parallel.data},
                                                   {"tensor", &parallel.tensor},
                                                   {"pipeline", &parallel.pipeline},
                                                   {"expert", &parallel.expert},
                                                   {"expert_tensor", &parallel.expert_tensor},
                                                   {"zero", &parallel.zero},
                                                   {"chunks", &parallel.chunks}};
  const std::map<std::string, std::string*> words = {{"schedule", &parallel.schedule},
                                                     {"device", &layout.device},
                                                     {"transport", &layout.transport}};
  if (const auto number = numbers.find(key); number != numbers.end())
    *number->second = whole_number(word, value);
  else if (const auto text = words.find(key); text != words.end())
    *text->second = value;
  else if (key == "recompute")
    parallel.recompute = one_of<Recomputation>(word, value);
  else if (key == "compute")
    layout.compute = one_of<ComputeType>(word, value);
  else if (key == "threads")
    layout.threads = static_cast<int>(whole_number(word, value));
  else
    fail(ErrorKind::usage,
         "--layouts: unknown key '" + key +
             "'; keys: data, tensor, pipeline, expert, expert_tensor, "
             "zero, schedule, chunks, recompute, compute, device, threads, transport");
}

// --- The covering array: one value index per factor.
struct Factor {
  std::string key;
  std::vector<std::string> values;
};
using Row = std::vector<size_t>;

std::vector<Factor> factors(const Recipe& recipe, bool all_compute) {
  std::vector<std::string> schedules;
  for (const ScheduleKind& kind : schedule_kinds()) schedules.emplace_back(kind.name);
  std::vector<Factor> all = {
      {"data", {"1", "2", "4"}},
      {"tensor", {"1", "2", "4"}},
      {"pipeline", {"1", "2", "4"}},
      {"zero", {"0", "1", "2", "3"}},
      {"schedule", schedules},
      {"recompute", names_of<Recomputation>()},
      {"compute", all_compute ? names_of<ComputeType>()
                              : std::vector<std::string>{name_of(recipe.precision.compute)}},
      {"threads", {"1", "2", "3"}},
      {"transport", {"", "mpi"}}};
  if (recipe.model.has_experts()) {
    all.push_back({"expert", {"1", "2", "4"}});
    all.push_back({"expert_tensor", {"1", "2"}});
  }
  return all;
}

class Coverer {
 public:
  Coverer(const Recipe& recipe, int max_ranks, bool all_compute)
      : recipe_(recipe), max_ranks_(max_ranks), factors_(factors(recipe, all_compute)) {}

  std::vector<Layout> cover() {
    collect_pairs();
    std::vector<Layout> layouts;
    while (!open_.empty()) {
      const Row best = best_row();
      for (const Pair& pair : pairs_of(best)) open_.erase(pair);
      layouts.push_back(layout_of(best));
    }
    return layouts;
  }

 private:
  using Pair = std::array<size_t, 4>;  // factor, value, factor, value

  Layout layout_of(const Row& row) const {
    Layout layout = one_rank(recipe_);
    for (size_t f = 0; f < factors_.size(); ++f)
      if (!factors_[f].values[row[f]].empty())
        set(layout, factors_[f].key + "=" + factors_[f].values[row[f]]);
    return layout;
  }
  bool legal(const Row& row) const {
    const Layout layout = layout_of(row);
    const int ranks = layout.num_ranks();
    return ranks <= max_ranks_ && validate(in_layout(recipe_, layout, 1), ranks).empty();
  }
  std::vector<Pair> pairs_of(const Row& row) const {
    std::vector<Pair> pairs;
    for (size_t a = 0; a < row.size(); ++a)
      for (size_t b = a + 1; b < row.size(); ++b) pairs.push_back({a, row[a], b, row[b]});
    return pairs;
  }
  Row random_row() {
    Row row;
    for (const Factor& factor : factors_)
      row.push_back(philox_.bits(draw_++) % factor.values.size());
    return row;
  }
  // A pair that no legal row among many has is taken for impossible.
  void collect_pairs() {
    constexpr int kDraws = 20000;
    for (int i = 0; i < kDraws; ++i) {
      const Row row = random_row();
      if (!legal(row)) continue;
      pool_.push_back(row);
      for (const Pair& pair : pairs_of(row)) open_.insert(pair);
    }
  }
  Row best_row() const {
    size_t most = 0;
    const Row* best = &pool_.front();
    for (const Row& row : pool_) {
      size_t covered = 0;
      for (const Pair& pair : pairs_of(row)) covered += open_.count(pair);
      if (covered > most) {
        most = covered;
        best = &row;
      }
    }
    return *best;
  }

  const Recipe& recipe_;
  int max_ranks_;
  std::vector<Factor> factors_;
  std::set<Pair> open_;
  std::vector<Row> pool_;
  Philox philox_{1, stream_named("covering array")};
  uint64_t draw_ = 0;
};

}  // namespace

int Layout::num_ranks() const {
  return static_cast<int>(parallel.data * parallel.tensor * parallel.pipeline);
}

std::string Layout::to_string() const {
  std::string text =
      "dp" + std::to_string(parallel.data) + " tp" + std::to_string(parallel.tensor) + " pp" +
      std::to_string(parallel.pipeline) +
      (parallel.expert > 1 ? " ep" + std::to_string(parallel.expert) : "") +
      (parallel.expert_tensor > 1 ? " etp" + std::to_string(parallel.expert_tensor) : "") +
      " zero" + std::to_string(parallel.zero) + " " + parallel.schedule;
  if (parallel.chunks > 0) text += " chunks" + std::to_string(parallel.chunks);
  if (parallel.recompute != Recomputation::none)
    text += std::string(" ") + name_of(parallel.recompute);
  text += " " + (device == "reference" ? device : name_of(compute));
  if (device == "cuda") text += " cuda";
  if (threads > 0) text += " t" + std::to_string(threads);
  if (!transport.empty()) text += " " + transport;
  return text;
}

Layout parse_layout(const std::string& text, const Recipe& recipe) {
  Layout layout = one_rank(recipe);
  for (const std::string& word : split(text, ',')) set(layout, word);
  return layout;
}

std::vector<Layout> parse_layouts(const std::string& text, const Recipe& recipe) {
  std::vector<Layout> layouts;
  for (const std::string& one : split(text, ';'))
    if (!split(one, ',').empty()) layouts.push_back(parse_layout(one, recipe));
  check(!layouts.empty(), ErrorKind::usage,
        "--layouts '" + text + "' names no layout, so nothing would be verified");
  return layouts;
}

std::string class_of(const Layout& layout, const Recipe& recipe) {
  const ParallelOptions& parallel = layout.parallel;
  const std::string numbers =
      "tp" + std::to_string(parallel.tensor) + " ep" + std::to_string(parallel.expert) + " etp" +
      std::to_string(parallel.expert_tensor) + " " + name_of(layout.compute) + " " + layout.device;
  if (recipe.run.determinism == Determinism::layout_free) return numbers;
  const bool one_micro = recipe.batch.global == recipe.batch.micro * parallel.data;
  // One microbatch has one order of sums, unless the uses of a shared table are added up before the
  // data ranks' sum in one stage and after it in the other (model/gradients.h).
  const bool used_twice =
      recipe.model.tie_word_embeddings || recipe.model.num_nextn_predict_layers > 0;
  const bool one_order = one_micro && (parallel.data == 1 || !used_twice);
  const bool reduced_first = parallel.zero >= 2 && !one_order;
  return "dp" + std::to_string(parallel.data) + " " + numbers +
         (reduced_first ? " zero 2, 3" : " zero 0, 1");
}

Recipe in_layout(const Recipe& recipe, const Layout& layout, int64_t steps) {
  constexpr double kSafeLossScale = 1024;
  Recipe changed = recipe;
  changed.parallel = layout.parallel;
  changed.precision.compute = layout.compute;
  changed.precision.loss_scaling.initial = kSafeLossScale;
  changed.run.device = layout.device;
  changed.run.steps = steps;
  changed.run.tokens = 0;
  changed.run.eval_every = 0;
  // So few steps may have no room for the recipe's schedule; its warm-up alone does then.
  Problems problems;
  check_schedules(changed, problems);
  if (!problems.found.empty() && changed.lr_schedule.phases.empty()) {
    changed.lr_schedule.kind = LrKind::constant;
    changed.lr_schedule.decay = {};
  }
  return changed;
}

std::vector<Layout> covering_layouts(const Recipe& recipe, int max_ranks, bool all_compute) {
  const std::vector<Layout> covering = Coverer(recipe, max_ranks, all_compute).cover();
  std::map<std::string, int> members;
  for (const Layout& layout : covering) ++members[class_of(layout, recipe)];
  std::vector<Layout> all;
  for (const Layout& layout : covering) {
    if (members[class_of(layout, recipe)] == 1) {
      Layout plain = one_rank(recipe);
      plain.parallel.data = layout.parallel.data;
      plain.parallel.tensor = layout.parallel.tensor;
      plain.parallel.expert = layout.parallel.expert;
      plain.parallel.expert_tensor = layout.parallel.expert_tensor;
      plain.parallel.zero = layout.parallel.zero / 2 * 2;  // 0 for 0 and 1, 2 for 2 and 3
      plain.compute = layout.compute;
      all.push_back(plain);
    }
    all.push_back(layout);
  }
  return all;
}

}  // namespace tessera
