// SPDX-License-Identifier: Apache-2.0
#include "trainer/trace_file.h"

#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "kernels/base/trace.h"
#include "parallel/clock_offset.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

std::string place(const Communicators& comms) {
  const int rank = comms.rank();
  const auto coordinate = [&](Axis axis) {
    return std::string(" ") + name(axis) + " " + std::to_string(comms.grid().coord(axis, rank));
  };
  return "rank " + std::to_string(rank) + ":" + coordinate(Axis::pipeline) +
         coordinate(Axis::data) + coordinate(Axis::tensor);
}

// This rank's events, in rank 0's time, as the elements of a JSON array.
std::string events_of(const Communicators& comms, const std::vector<trace::Event>& events,
                      int64_t offset_ns) {
  constexpr double kMicro = 1e-3;  // of a nanosecond
  std::string text = Json{{"name", "process_name"},
                          {"ph", "M"},
                          {"pid", comms.rank()},
                          {"args", {{"name", place(comms)}}}}
                         .dump();
  for (const trace::Event& event : events)
    text += ",\n" + Json{{"name", event.name},
                         {"cat", std::string(event.category)},
                         {"ph", "X"},
                         {"pid", comms.rank()},
                         {"tid", event.thread},
                         {"ts", static_cast<double>(event.begin_ns + offset_ns) * kMicro},
                         {"dur", static_cast<double>(event.end_ns - event.begin_ns) * kMicro}}
                        .dump();
  return text;
}

}  // namespace

void start_trace(Communicator& world) {
  world.barrier("trace");
  trace::start();
}

void write_trace(Stream& stream, const Communicators& comms, const std::string& path) {
  const std::vector<trace::Event> events = trace::stop();
  const int64_t offset_ns = clock_offset_ns(stream, comms.world());
  const std::vector<std::string> all =
      comms.world().all_gather(events_of(comms, events, offset_ns), "trace");
  if (comms.rank() > 0) return;
  std::error_code ignored;  // the write says what is wrong
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  std::ofstream file(path);
  file << "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
  for (size_t rank = 0; rank < all.size(); ++rank) file << (rank ? ",\n" : "") << all[rank];
  file << "\n]}\n";
  file.close();
  check(!file.fail(), ErrorKind::storage, "trace: cannot write", path);
}

}  // namespace tessera
