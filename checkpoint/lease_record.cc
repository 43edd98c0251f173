// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/lease_record.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>
#include <unistd.h>

namespace tessera {
namespace {

using nlohmann::json;

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// The machine since its start, and the namespace in which a pid means something.
std::string home_of_pids() {
  char name[128] = {};
  if (::readlink("/proc/self/ns/pid", name, sizeof name - 1) < 0) return "";
  return first_line("/proc/sys/kernel/random/boot_id") + " " + name;
}

// Field 22 of /proc/PID/stat, in ticks since the machine's start; empty when there is no such
// process. The name in field 2 may hold blanks and brackets, so fields count from the last one.
std::string start_of(int64_t pid) {
  const std::string line = first_line("/proc/" + std::to_string(pid) + "/stat");
  const size_t bracket = line.rfind(')');
  if (bracket == std::string::npos) return "";
  std::istringstream fields(line.substr(bracket + 1));
  std::string field;
  fields >> field;
  if (field == "Z" || field == "X") return "";  // dead, nobody has asked for its exit code yet
  for (int number = 4; number <= 22; ++number) fields >> field;
  return field;
}

std::string process_text(int64_t pid) {
  const std::string home = home_of_pids(), start = start_of(pid);
  return home.empty() || start.empty() ? "" : std::to_string(pid) + " " + start + " " + home;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", ::gmtime_r(&now, &parts));
  return text;
}

}  // namespace

std::string lease_name(int64_t generation) {
  return kLeasePrefix + std::to_string(generation);
}

int64_t parse_lease_name(std::string_view name) {
  const std::string_view prefix = kLeasePrefix;
  if (name.substr(0, prefix.size()) != prefix) return 0;
  name.remove_prefix(prefix.size());
  int64_t generation = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), generation);
  const bool whole = error == std::errc() && end == name.data() + name.size();
  return whole && generation > 0 && std::to_string(generation) == name ? generation : 0;
}

std::string to_text(const LeaseRecord& record) {
  const nlohmann::ordered_json line = {{"format", "tessera-lease"},
                                       {"version", 1},
                                       {"generation", record.generation},
                                       {"host", record.host},
                                       {"pid", record.pid},
                                       {"process", record.process},
                                       {"since", record.since},
                                       {"line", record.line},
                                       {"base", record.base},
                                       {"saved", record.saved},
                                       {"released", record.released},
                                       {"beat", record.beat},
                                       {"interval_seconds", record.interval_seconds}};
  std::string text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.resize(std::max(text.size(), static_cast<size_t>(kLeaseBytes) - 1), ' ');
  return text + "\n";
}

LeaseRecord parse_lease(const std::string& text, int64_t generation) {
  LeaseRecord record;
  record.generation = generation;
  record.known = false;
  const json line = json::parse(text, nullptr, false);
  if (!line.is_object()) return record;
  try {
    record.host = line.at("host");
    record.pid = line.at("pid");
    record.process = line.at("process");
    record.since = line.at("since");
    record.line = line.at("line");
    record.base = line.at("base");
    record.saved = line.at("saved");
    record.released = line.at("released");
    record.beat = line.at("beat");
    record.interval_seconds = line.at("interval_seconds");
    record.known = true;
  } catch (const json::exception&) {
    return parse_lease("", generation);
  }
  return record;
}

LeaseRecord record_of_this_process() {
  LeaseRecord record;
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  record.host = host;
  record.pid = ::getpid();
  record.process = process_text(record.pid);
  record.since = utc_now();
  return record;
}

Presence presence_of(const LeaseRecord& record) {
  const std::string home = home_of_pids();
  if (!record.known || home.empty() || !record.process.ends_with(" " + home))
    return Presence::unknown;
  return process_text(record.pid) == record.process ? Presence::alive : Presence::gone;
}

}  // namespace tessera
