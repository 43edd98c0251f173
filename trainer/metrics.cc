// SPDX-License-Identifier: Apache-2.0
#include "trainer/metrics.h"

#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "kernels/base/warning.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no infinities: such a number is written as null, and "applied": false tells why.
std::string as_line(const Json& line) {
  return line.dump() + "\n";
}

// True for a line that tells of something that happened at most at `step`. A line that cannot be
// read was being written when the run died.
bool happened_by(int64_t step, const std::string& line) {
  const Json json = Json::parse(line, nullptr, false);
  return json.is_object() && (!json.contains("step") || json["step"] <= step);
}

}  // namespace

MetricsFile::MetricsFile(const std::string& path, const RunFacts& facts)
    : file_(path), facts_(facts) {}

void MetricsFile::write_line(const nlohmann::ordered_json& line) {
  const int64_t missing = file_.append(as_line(line));
  if (missing > 0)
    file_.append(as_line({{"kind", "warning"},
                          {"code", code(Warning::records_missing)},
                          {"text", std::to_string(missing) + " lines are missing before the one "
                                                             "above: they could not be written"}}));
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
  write_line(line);
}

void MetricsFile::on_eval(const EvalReport& report) {
  Json line = {{"kind", "eval"},          {"step", report.step},
               {"loss", report.loss},     {"perplexity", report.perplexity()},
               {"tokens", report.tokens}, {"seconds", report.seconds}};
  if (report.bits_per_byte > 0) line["bits_per_byte"] = report.bits_per_byte;
  write_line(line);
}

void MetricsFile::on_checkpoint(const CheckpointEvent& event) {
  Json line = {{"kind", "checkpoint"},
               {"step", event.step},
               {"bytes", event.bytes},
               {"seconds", event.seconds},
               {"stall_seconds", event.stall_seconds}};
  if (!event.error.empty()) line["error"] = event.error;
  write_line(line);
}

// The steps after `step` will be trained again. One call of the file system makes the file shorter:
// whenever the run dies, what is left is a beginning of the file.
void MetricsFile::cut_back(int64_t step) {
  const std::string& path = file_.path();
  std::ifstream in(path, std::ios::binary);
  std::uintmax_t good = 0;
  for (std::string line; std::getline(in, line) && !in.eof() && happened_by(step, line);)
    good += line.size() + 1;
  in.close();
  std::error_code error;
  if (good < std::filesystem::file_size(path, error))
    std::filesystem::resize_file(path, good, error);
  check(!error, ErrorKind::storage, "cannot shorten " + path + ":", error.message());
}

void MetricsFile::on_start(int64_t step, const std::string& how) {
  cut_back(step);
  write_line({{"kind", "start"},
              {"step", step},
              {"how", how},
              {"compute", name(facts_.compute)},
              {"tf32", facts_.tf32}});
}

void MetricsFile::on_warning(Warning warning, const std::string& text) {
  write_line({{"kind", "warning"}, {"code", code(warning)}, {"text", text}});
}

}  // namespace tessera
