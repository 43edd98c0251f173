// SPDX-License-Identifier: Apache-2.0
#include "trainer/metrics.h"

#include <filesystem>

#include <nlohmann/json.hpp>

#include "kernels/base/no_link.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no infinities: such a number is written as null, and "applied": false tells why.
void write_line(std::ofstream& out, const Json& line) {
  out << line.dump() << std::endl;
}

// Whether a line tells of something that happened at most at `step`. A line that cannot be read was
// being written when the run died.
bool happened_by(int64_t step, const std::string& line) {
  const Json json = Json::parse(line, nullptr, false);
  return json.is_object() && (!json.contains("step") || json["step"] <= step);
}

}  // namespace

MetricsFile::MetricsFile(const std::string& path, const RunFacts& facts)
    : path_(path), facts_(facts) {
  out_.open(NoLink(path).name(), std::ios::app);
  check(out_.good(), ErrorKind::storage, "cannot write " + path);
}

void MetricsFile::on_step(const StepReport& report) {
  const double rate = static_cast<double>(report.target_tokens) / report.seconds;
  Json line = {{"kind", "train"},
               {"step", report.step},
               {"loss", report.loss},
               {"grad_norm", report.grad_norm},
               {"lr", report.learning_rate},
               {"loss_scale", report.loss_scale},
               {"applied", report.applied},
               {"updates", report.updates},
               {"sequences", report.sequences},
               {"tokens", report.tokens},
               {"tokens_per_second", rate},
               {"step_seconds", report.seconds},
               {"data_seconds", report.data_seconds},
               {"comm_seconds", report.comm_seconds}};
  if (report.mtp_loss > 0) line["mtp_loss"] = report.mtp_loss;
  if (facts_.peak_flops > 0) line["mfu"] = facts_.flops_per_token * rate / facts_.peak_flops;
  if (!report.applied) line["overflow"] = report.overflow;
  if (!report.expert_loads.empty()) {
    line["aux_loss"] = report.aux_loss;
    line["expert_rounds"] = report.extra_rounds;
    line["expert_load"] = report.expert_load();
    for (const ExpertLoad& load : report.expert_loads)
      line["expert_loads"].push_back({{"layer", load.layer},
                                      {"p50", load.p50},
                                      {"p95", load.p95},
                                      {"max", load.max},
                                      {"dead", load.dead}});
  }
  write_line(out_, line);
}

void MetricsFile::on_eval(const EvalReport& report) {
  Json line = {{"kind", "eval"},          {"step", report.step},
               {"loss", report.loss},     {"perplexity", report.perplexity()},
               {"tokens", report.tokens}, {"seconds", report.seconds}};
  if (report.bits_per_byte > 0) line["bits_per_byte"] = report.bits_per_byte;
  write_line(out_, line);
}

void MetricsFile::on_checkpoint(const CheckpointEvent& event) {
  Json line = {{"kind", "checkpoint"},
               {"step", event.step},
               {"bytes", event.bytes},
               {"seconds", event.seconds},
               {"stall_seconds", event.stall_seconds}};
  if (!event.error.empty()) line["error"] = event.error;
  write_line(out_, line);
}

// The steps after `step` will be trained again. One call of the file system makes the file shorter:
// whenever the run dies, what is left is a beginning of the file.
void MetricsFile::cut_back(int64_t step) {
  std::ifstream in(path_, std::ios::binary);
  std::uintmax_t good = 0;
  for (std::string line; std::getline(in, line) && !in.eof() && happened_by(step, line);)
    good += line.size() + 1;
  in.close();
  std::error_code error;
  if (good < std::filesystem::file_size(path_, error))
    std::filesystem::resize_file(path_, good, error);
  check(!error, ErrorKind::storage, "cannot shorten " + path_ + ":", error.message());
}

void MetricsFile::on_start(int64_t step, const std::string& how) {
  cut_back(step);
  write_line(out_, {{"kind", "start"},
                    {"step", step},
                    {"how", how},
                    {"compute", name(facts_.compute)},
                    {"tf32", facts_.tf32}});
}

void MetricsFile::on_warning(const std::string& code, const std::string& text) {
  write_line(out_, {{"kind", "warning"}, {"code", code}, {"text", text}});
}

}  // namespace tessera
