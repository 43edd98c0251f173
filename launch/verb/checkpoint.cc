// SPDX-License-Identifier: Apache-2.0
// `tessera checkpoint list|inspect|verify|diff|prune-old`.
#include <cstdio>
#include <memory>
#include <sstream>

#include <nlohmann/json.hpp>

#include "checkpoint/diff.h"
#include "checkpoint/layout.h"
#include "checkpoint/lease.h"
#include "checkpoint/line.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "kernels/base/log.h"
#include "launch/open_checkpoint.h"
#include "launch/recipe/scalar.h"
#include "launch/report/format.h"
#include "launch/report/progress.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"

namespace tessera {
namespace {

struct CheckpointCommand {
  std::string path;
  std::string other;
  bool json = false;
  std::string keep;
  bool quarantine = false;  // prune-old: what was set aside, too
  bool take_over = false;   // prune-old: although another job seems to hold the directory
};

using Json = nlohmann::ordered_json;

// The directory of steps that `path` means: a run directory or the directory itself.
std::string steps_root(Storage& storage, const std::string& path) {
  check(storage.exists(path), ErrorKind::checkpoint, path + " does not exist");
  return storage.exists(path + "/checkpoints") ? path + "/checkpoints" : path;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "" : ", ") + std::to_string(extent);
  return "(" + text + ")";
}

int run_list(const CheckpointCommand& command) {
  PosixStorage storage;
  const std::string root = steps_root(storage, command.path);
  std::vector<std::vector<std::string>> rows = {
      {"step", "status", "size", "writers", "layout", "directory"}};
  Json list = Json::array();
  for (const std::string& name : storage.list(root)) {
    const auto step = parse_step_name(name);
    if (!step) continue;
    const std::string directory = root + "/" + name;
    std::string status = "complete", layout;
    int64_t bytes = 0, writers = 0;
    try {
      const CheckpointReader reader = CheckpointReader::open(storage, directory);
      bytes = reader.manifest().bytes();
      writers = static_cast<int64_t>(reader.manifest().writers.size());
      layout = reader.manifest().layout;
    } catch (const Error& error) {
      status = error.kind() == ErrorKind::storage ? "unreadable" : "damaged";
      log::warn(error.what());
    }
    rows.push_back({std::to_string(*step), status, as_bytes(static_cast<double>(bytes)),
                    std::to_string(writers), layout, directory});
    list.push_back({{"step", *step},
                    {"status", status},
                    {"bytes", bytes},
                    {"writers", writers},
                    {"layout", layout},
                    {"directory", directory}});
  }
  if (command.json)
    std::printf("%s\n", list.dump().c_str());
  else
    std::fputs(rows.size() > 1 ? table(rows).c_str() : "no checkpoints\n", stdout);
  return 0;
}

int run_inspect(const CheckpointCommand& command) {
  PosixStorage storage;
  const CheckpointReader reader =
      CheckpointReader::open(storage, resolve_checkpoint(storage, command.path));
  std::vector<std::vector<std::string>> rows = {
      {"tensor", "role", "dtype", "shape", "size", "boxes"}};
  Json tensors = Json::array();
  for (const GlobalTensor& tensor : reader.tensors()) {
    rows.push_back({tensor.name, tensor.role, name(tensor.dtype), shape_text(tensor.global_shape),
                    as_bytes(static_cast<double>(tensor.bytes())),
                    std::to_string(tensor.pieces.size())});
    tensors.push_back({{"name", tensor.name},
                       {"role", tensor.role},
                       {"dtype", name(tensor.dtype)},
                       {"shape", tensor.global_shape},
                       {"boxes", tensor.pieces.size()}});
  }
  const Manifest& manifest = reader.manifest();
  if (command.json) {
    std::printf("%s\n", Json{{"directory", reader.directory()},
                             {"step", manifest.step},
                             {"run_id", manifest.run_id},
                             {"layout", manifest.layout},
                             {"scalars", manifest.scalars},
                             {"tensors", tensors}}
                            .dump()
                            .c_str());
    return 0;
  }
  std::printf("%s\nstep %lld  run %s  layout %s  %s from %zu writer(s)\n",
              reader.directory().c_str(), static_cast<long long>(manifest.step),
              manifest.run_id.c_str(), manifest.layout.c_str(),
              as_bytes(static_cast<double>(manifest.bytes())).c_str(), manifest.writers.size());
  for (const auto& [key, value] : manifest.scalars)
    std::printf("  %s = %s\n", key.c_str(), value.c_str());
  std::fputs(table(rows).c_str(), stdout);
  return 0;
}

int run_verify(const CheckpointCommand& command) {
  PosixStorage storage;
  const std::string directory = resolve_checkpoint(storage, command.path);
  CheckpointReader reader = CheckpointReader::open(storage, directory);
  ProgressLine line("verify", reader.manifest().bytes());
  std::vector<std::string> unreadable;
  const std::vector<std::string> damage =
      reader.find_damage([&](int64_t done, int64_t) { line.at(done); }, &unreadable);
  line.finish();
  const int code = !damage.empty()       ? exit_code(ErrorKind::checkpoint)
                   : !unreadable.empty() ? exit_code(ErrorKind::storage)
                                         : 0;
  if (command.json) {
    const Json told = {{"directory", directory},
                       {"sound", code == 0},
                       {"tensors", reader.tensors().size()},
                       {"bytes", reader.manifest().bytes()},
                       {"damage", damage},
                       {"unreadable", unreadable}};
    std::printf("%s\n", told.dump().c_str());
    return code;
  }
  for (const std::string& sentence : damage) std::printf("%s\n", sentence.c_str());
  for (const std::string& sentence : unreadable)
    std::printf("cannot be read now: %s\n", sentence.c_str());
  if (damage.empty() && !unreadable.empty())
    std::printf("nothing that could be read is damaged; verify again when the storage answers\n");
  if (code != 0) return code;
  std::printf("%s  verified: %zu tensors, %s\n", directory.c_str(), reader.tensors().size(),
              as_bytes(static_cast<double>(reader.manifest().bytes())).c_str());
  return 0;
}

int run_diff(const CheckpointCommand& command) {
  PosixStorage storage;
  CheckpointReader a = CheckpointReader::open(storage, resolve_checkpoint(storage, command.path));
  CheckpointReader b = CheckpointReader::open(storage, resolve_checkpoint(storage, command.other));
  ProgressLine line("diff", a.manifest().bytes() + b.manifest().bytes());
  const CheckpointDiff diff =
      diff_checkpoints(a, b, {}, [&](int64_t done, int64_t) { line.at(done); });
  line.finish();
  size_t equal = 0;
  Json tensors = Json::array();
  for (const TensorDifference& tensor : diff.tensors) {
    if (tensor.kind == TensorDifference::Kind::equal) {
      ++equal;
      continue;
    }
    tensors.push_back({{"name", tensor.name},
                       {"role", tensor.role},
                       {"different", tensor.num_different},
                       {"elements", tensor.num_elements},
                       {"max_abs", tensor.max_abs},
                       {"relative_frobenius", tensor.relative_frobenius}});
    if (!command.json) std::printf("%s\n", describe(tensor).c_str());
  }
  for (const ScalarDifference& scalar : diff.scalars)
    if (!command.json)
      std::printf("scalar %s: %s | %s\n", scalar.key.c_str(), scalar.a.value_or("-").c_str(),
                  scalar.b.value_or("-").c_str());
  if (command.json)
    std::printf("%s\n", Json{{"equal", diff.equal()},
                             {"equal_tensors", equal},
                             {"tensors", tensors},
                             {"scalars", diff.scalars.size()}}
                            .dump()
                            .c_str());
  else
    std::printf("%s: %zu of %zu tensors are equal bit for bit\n",
                diff.equal() ? "equal" : "different", equal, diff.tensors.size());
  return diff.equal() ? 0 : exit_code(ErrorKind::numeric);
}

Keep parse_keep(const std::string& text) {
  Keep keep;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t colon = part.find(':');
    const std::string key = part.substr(0, colon);
    check(colon != std::string::npos && (key == "last" || key == "every"), ErrorKind::usage,
          "--keep wants last:N,every:M, got '" + part + "'");
    try {
      const int64_t value = parse_integer(part.substr(colon + 1));
      check(value >= (key == "last" ? 1 : 0), ErrorKind::usage,
            "--keep " + key + " is too small:", value);
      (key == "last" ? keep.last : keep.every) = value;
    } catch (const ScalarError& error) {
      fail(ErrorKind::usage, "--keep " + part + ": " + error.what());
    }
  }
  return keep;
}

int run_prune(const CheckpointCommand& command) {
  check(!command.keep.empty() || command.quarantine, ErrorKind::usage,
        "prune-old wants --keep last:N,every:M or --quarantine");
  Keep keep = parse_keep(command.keep);
  keep.read_indexes = true;  // a person waits, and a checkpoint without its shards is none
  PosixStorage storage;
  const std::string root = steps_root(storage, command.path);
  const std::unique_ptr<Lease> lease = Lease::take(root, {.take_over = command.take_over});
  if (!command.keep.empty()) {
    const RetentionReport report = apply_retention(storage, root, keep, lease->generation());
    for (const int64_t step : report.deleted)
      std::printf("deleted step %lld\n", static_cast<long long>(step));
    for (const Quarantined& moved : report.set_aside)
      std::printf("moved %s to %s\n", moved.from.c_str(), moved.to.c_str());
    if (report.swept > 0) std::printf("swept %d left-over directories\n", report.swept);
  }
  if (command.quarantine)
    std::printf("deleted %s of the quarantine\n",
                as_bytes(static_cast<double>(empty_quarantine(storage, root, ""))).c_str());
  return 0;
}

}  // namespace

Verb checkpoint_verb() {
  const auto c = std::make_shared<CheckpointCommand>();
  const auto verb = [&](const char* name, const char* help, int (*run)(const CheckpointCommand&),
                        std::vector<Flag> more = {}) {
    Verb made{.name = name,
              .help = help,
              .flags = {checkpoint_row(c->path), json_row(c->json)},
              .run = [c, run] { return run(*c); }};
    for (Flag& flag : more) made.flags.push_back(std::move(flag));
    return made;
  };
  const Flag other{"other", &c->other, "the second one", {}, {.required = true}};
  const std::vector<Flag> prune = {
      {"--keep", &c->keep, "last:N,every:M"},
      {"--quarantine", &c->quarantine,
       "delete what was set aside: abandoned, damaged, of a newer format"},
      take_over_row(c->take_over)};
  return {.name = "checkpoint",
          .help = "look at, verify and compare checkpoints",
          .alias = "ckpt",
          .verbs = {verb("list", "steps, status, size, layout", run_list),
                    verb("inspect", "tensors, boxes and scalars", run_inspect),
                    verb("verify", "read and check every byte", run_verify),
                    verb("diff", "compare two checkpoints tensor by tensor", run_diff, {other}),
                    reshard_verb(), export_verb(), import_verb(),
                    verb("prune-old", "delete what --keep does not name", run_prune, prune)}};
}

}  // namespace tessera
