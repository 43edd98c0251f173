// SPDX-License-Identifier: Apache-2.0
// Bugs planted in a mixture of experts, one at a time: each must be found, and named by tensor. All
// runs repeat the choices of experts of one rank, as `tessera verify` has them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/backend.h"
#include "kernels/copy.h"
#include "kernels/elementwise.h"
#include "tests/support/faulty_communicator.h"
#include "tests/support/rank_world.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"
#include "trainer/training_plan.h"
#include "trainer/verify/judge.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

struct Case {
  std::string name;
  std::string layout;
  Plant plant;
  std::string named;                                     // what the verdict must name
  std::function<void(Recipe&, RoutingRecord&)> alter{};  // what the layers are given
  std::function<void(Backend&)> kernels{};               // what computes
};

// The CPU's kernels with a fault among them, while it lives.
class FaultyKernels {
 public:
  explicit FaultyKernels(const Case* planted) {
    if (planted == nullptr || !planted->kernels) return;
    planted->kernels(table_);
    replace_backend(Device::Kind::cpu, &table_);
  }
  ~FaultyKernels() { replace_backend(Device::Kind::cpu, nullptr); }
  FaultyKernels(const FaultyKernels&) = delete;
  FaultyKernels& operator=(const FaultyKernels&) = delete;

 private:
  Backend table_ = cpu_backend();
};

// --- What goes wrong.
void keep_own_rows(Communicator& group, Stream& stream, const Tensor& in, const Cut& cut,
                   const Tensor& out) {
  const Interval mine = cut.part(group.rank());
  copy(stream, in.row_slice(mine.first, mine.extent), out);
}
void keep_own(Communicator&, Stream& stream, const Tensor& in, const Tensor& out) {
  if (in.data() != out.data()) copy(stream, in, out);
}
// In the backward pass, as if the router had given every expert the weight 1.
void weigh_all_alike(Communicator& group, Stream& stream, const Tensor& in, const Cut& in_cut,
                     const Tensor& out, const Cut& out_cut) {
  group.all_to_all(stream, in, in_cut, out, out_cut);
  fill(stream, 1, out);
}
void drop_last_slot(Communicator& group, Stream& stream, const Tensor& in, const Cut& in_cut,
                    const Tensor& out, const Cut& out_cut) {
  group.all_to_all(stream, in, in_cut, out, out_cut);
  if (out.rows() > 0) fill(stream, 0, out.row_slice(out.rows() - 1, 1));
}
// The first two rows stand in each other's place.
void exchange_two_rows(Communicator& group, Stream& stream, const Tensor& in, const Cut& in_cut,
                       const Tensor& out, const Cut& out_cut) {
  group.all_to_all(stream, in, in_cut, out, out_cut);
  if (out.rows() < 2) return;
  const Tensor first(out.device(), out.dtype(), {1, out.columns()});
  copy(stream, out.row_slice(0, 1), first);
  copy(stream, out.row_slice(1, 1), out.row_slice(0, 1));
  copy(stream, first, out.row_slice(1, 1));
}
// The borders between two experts' rows are those of the experts in the other order.
void exchange_two_counts(Communicator& group, Stream& stream, const Tensor& in, const Cut& cut,
                         const Tensor& out) {
  group.all_gather(stream, in, cut, out);
  for (int64_t rank = 0; rank < out.rows(); ++rank)
    std::swap(out.row<int64_t>(rank)[0], out.row<int64_t>(rank)[1]);
}
// The expert group of the communicators at hand, for a call that goes to the wrong one.
Communicator* wrong_group = nullptr;
void sum_over_the_expert_group(Communicator& group, Stream& stream, const Tensor& in,
                               const Cut& cut, const Tensor& out) {
  const Tensor sum(in.device(), in.dtype(), {in.rows(), in.columns()});
  wrong_group->all_reduce(stream, in, sum, Reduce::sum);
  keep_own_rows(group, stream, sum, cut, out);
}
// Of the reductions in a forward pass (attention and feed-forward of each of four layers) the last
// is that of layer 3's shared experts.
void skip_shared_experts(Communicator& group, Stream& stream, const Tensor& in, const Cut& cut,
                         const Tensor& out) {
  static int64_t calls = 0;
  group.reduce_scatter(stream, in, cut, out, Reduce::sum);
  if (++calls % 8 == 0) fill(stream, 0, out);
}
void swap_two_experts(Recipe&, RoutingRecord& record) {
  for (auto& [key, chosen] : record.chosen)
    for (int32_t& expert : chosen)
      if (expert == 0 || expert == 5) expert = 5 - expert;
}
void forget_the_factor(Recipe& recipe, RoutingRecord&) {
  recipe.model.routed_scaling_factor = 1;
}

void combine_without_weights(Backend& table) {
  table.combine_rows = [](Stream& stream, const Tensor& y, const Tensor& position, const Tensor&,
                          const Tensor& out) {
    cpu_backend().combine_rows(stream, y, position, {}, out);
  };
}
// DeepSeek-V3's biases are for the choice alone (eq 16).
void weigh_with_biases(Backend& table) {
  static Tensor biases;
  table.router_choose = [](Stream& stream, const Tensor& scores, const Tensor& bias,
                           const ExpertGroups& groups, const Tensor& index) {
    biases = bias;
    cpu_backend().router_choose(stream, scores, bias, groups, index);
  };
  table.router_weights = [](Stream& stream, const Tensor& scores, const Tensor& index,
                            const RouterWeights& rule, const Tensor& weights) {
    const Tensor biased(scores.device(), scores.dtype(), {scores.rows(), scores.columns()});
    for (int64_t row = 0; row < scores.rows(); ++row)
      add(stream, scores.row_slice(row, 1), biases, biased.row_slice(row, 1));
    cpu_backend().router_weights(stream, biased, index, rule, weights);
  };
}

std::vector<Case> cases() {
  const auto exchange = [](const char* tag, auto&& what) {
    Plant plant{.label = "expert", .tag = tag};
    plant.all_to_all = what;
    return plant;
  };
  const auto scatter = [](const char* label, const char* tag, auto&& what) {
    Plant plant{.label = label, .tag = tag};
    plant.reduce_scatter = what;
    return plant;
  };
  Plant counts{.label = "expert", .tag = "expert counts"};
  counts.all_gather = exchange_two_counts;
  Plant loads{.label = "world", .tag = "expert loads"};
  loads.all_reduce = keep_own;
  const std::string experts = ".mlp.experts.", two = "data=2,expert=2";
  return {
      {"two experts are swapped", two, {}, experts, swap_two_experts},
      {"two experts' counts are swapped", two, counts, experts},
      {"loads are not summed for the biases", two, loads, "e_score_correction_bias"},
      {"the routed scaling factor is not applied", two, {}, experts, forget_the_factor},
      {"outputs are combined without the router's weights",
       two,
       {},
       experts,
       {},
       combine_without_weights},
      {"biases are used as weights", two, {}, experts, {}, weigh_with_biases},
      {"the experts' gradients lack the router's weight", two,
       exchange("expert weights", weigh_all_alike), experts},
      {"outputs come back in the wrong order", two, exchange("expert outputs", exchange_two_rows),
       experts},
      {"a slot's row gradient is dropped", two, exchange("expert row gradients", drop_last_slot),
       experts},
      {"a slot's output gradient is dropped", two,
       exchange("expert output gradients", drop_last_slot), experts},
      {"a slot's weight gradient is dropped", two,
       exchange("expert weight gradients", drop_last_slot), ".mlp.gate.weight"},
      {"the shared experts are skipped", "tensor=2,expert=2",
       scatter("tensor", "activations", skip_shared_experts), "layers.3.mlp.shared_experts."},
      {"expert outputs are not summed", "data=2,expert_tensor=2",
       scatter("expert_tensor", "expert outputs", keep_own_rows), experts},
      {"expert gradients are not summed", "data=4,expert=2",
       scatter("expert_data", "gradients", keep_own_rows), ".mlp.experts."},
      {"expert gradients are summed over the wrong group", "data=4,expert=2",
       scatter("expert_data", "gradients", sum_over_the_expert_group), ".mlp.experts."},
  };
}

struct ExpertFaults : testing::Test {
  std::optional<TemporaryDirectory> mine;  // rank 0's
  std::string directory;
  Communicators alone;
  RoutingRecord routing;
  Captured truth;  // rank 0's, as the bound
  Bound bound;
  std::map<std::string, Verdict> sound;

  ExpertFaults() {
    if (world().rank() == 0) {
      mine.emplace();
      write_tiny_tokens(*mine / "tokens");
      directory = mine->path();
    }
    directory = world().all().broadcast(directory, 0, "directory");
    if (world().rank() == 0) measure();
    routing = routing_record(world().all().broadcast(to_text(routing), 0, "routing"));
  }
  ~ExpertFaults() override { world().all().barrier("end of test"); }

  Recipe recipe() const {
    Recipe tiny = tiny_recipe(directory + "/tokens");
    tiny.model = tiny_deepseek();
    tiny.model.num_nextn_predict_layers = 0;
    tiny.model.routed_scaling_factor = 2.5;
    tiny.router.balance = Balance::aux_free;
    tiny.router.bias_update_speed = 0.01;
    return tiny;
  }

  void measure() {
    Layout base = parse_layout("", recipe());
    const Captured one = capture(in_layout(recipe(), base, 2), alone, {.record = &routing});
    base.device = "reference";
    truth = capture(in_layout(recipe(), base, 2), alone, {.replay = &routing});
    const auto depth = static_cast<double>(recipe().batch.global * recipe().data.sequence_length);
    bound = {errors_against(truth, one), kSlack * unit_roundoff(DType::f32) * std::sqrt(depth),
             kFlipRoundoffs * unit_roundoff(DType::f32)};
  }

  Verdict verdict_of(const std::string& text, const Case* planted) {
    Recipe shaped = in_layout(recipe(), parse_layout(text, recipe()), 2);
    RoutingRecord replay = routing;
    if (planted != nullptr && planted->alter) planted->alter(shaped, replay);
    GridSizes sizes = grid_sizes(shaped.parallel);
    sizes.data = static_cast<int>(shaped.parallel.data);
    Communicators comms(world(), ProcessGrid(sizes),
                        shaped.model.kv_replicas(shaped.parallel.tensor));
    wrong_group = &comms.along(Axis::expert);
    if (planted != nullptr)
      comms.replace([&](Communicator& group) {
        return group.label() == planted->plant.label ? faulty(group, planted->plant) : nullptr;
      });
    const FaultyKernels kernels(planted);
    Captured run;
    if (comms.member()) run = capture(shaped, comms, {.replay = &replay});
    if (world().rank() > 0) return {};
    // A foreign choice is also told by the margin of the scores; here the tensors must tell.
    if (planted != nullptr) run.flips = {};
    return judge(truth, run, bound, nullptr);
  }
};

TEST_F(ExpertFaults, AreFoundAndNamed) {
  for (const Case& planted : cases()) {
    SCOPED_TRACE(planted.name + " (" + planted.layout + ")");
    if (!sound.contains(planted.layout))
      sound[planted.layout] = verdict_of(planted.layout, nullptr);
    const Verdict broken = verdict_of(planted.layout, &planted);
    if (world().rank() > 0) continue;
    EXPECT_NE(sound[planted.layout].kind, Verdict::Kind::differs) << sound[planted.layout].reason;
    EXPECT_EQ(broken.kind, Verdict::Kind::differs);
    EXPECT_THAT(broken.reason, HasSubstr(planted.named));
  }
}

}  // namespace
}  // namespace tessera::test
