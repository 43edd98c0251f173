// SPDX-License-Identifier: Apache-2.0
#include "trainer/trace_file.h"

#include <filesystem>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "data/files.h"
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

// A lane is a "thread" of the format. The GPU's have the first numbers, the same in every trace.
struct Lane {
  int tid;
  std::string name;
};
Lane lane_of(const trace::Event& event) {
  constexpr int kQueues = 3;
  if (!event.queue) return {kQueues + event.thread, "host thread " + std::to_string(event.thread)};
  const int tid = static_cast<int>(*event.queue);
  switch (*event.queue) {
    case Stream::Queue::of_thread: return {tid, "GPU compute"};
    case Stream::Queue::communication: return {tid, "GPU communication"};
    case Stream::Queue::copies: return {tid, "GPU copies"};
  }
  fail(ErrorKind::internal, "trace: no such queue", tid);
}

// What the format calls metadata of a process or of a thread.
std::string metadata(const char* what, int pid, int tid, Json value) {
  return Json{{"name", what}, {"ph", "M"}, {"pid", pid}, {"tid", tid}, {"args", std::move(value)}}
      .dump();
}

// This rank's events, in rank 0's time, as the elements of a JSON array.
std::string events_of(const Communicators& comms, const std::vector<trace::Event>& events,
                      int64_t offset_ns) {
  constexpr double kMicro = 1e-3;  // of a nanosecond
  const int pid = comms.rank();
  std::string text = metadata("process_name", pid, 0, {{"name", place(comms)}});
  std::map<int, std::string> lanes;
  for (const trace::Event& event : events) {
    const auto [tid, lane] = lane_of(event);
    lanes[tid] = lane;
    text += ",\n" + Json{{"name", event.name},
                         {"cat", std::string(event.category)},
                         {"ph", "X"},
                         {"pid", pid},
                         {"tid", tid},
                         {"ts", static_cast<double>(event.begin_ns + offset_ns) * kMicro},
                         {"dur", static_cast<double>(event.end_ns - event.begin_ns) * kMicro}}
                        .dump();
  }
  for (const auto& [tid, lane] : lanes)
    text += ",\n" + metadata("thread_name", pid, tid, {{"name", lane}}) + ",\n" +
            metadata("thread_sort_index", pid, tid, {{"sort_index", tid}});
  return text;
}

}  // namespace

void start_trace(Stream& stream, Communicator& world) {
  world.barrier("trace");
  trace::start(stream.device());
}

void write_trace(Stream& stream, const Communicators& comms, const std::string& path) {
  const std::vector<trace::Event> events = trace::stop();
  const int64_t offset_ns = clock_offset_ns(stream, comms.world());
  const std::vector<std::string> all =
      comms.world().all_gather(events_of(comms, events, offset_ns), "trace");
  if (comms.rank() > 0) return;
  std::error_code ignored;  // the write says what is wrong
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  std::string text = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
  for (size_t rank = 0; rank < all.size(); ++rank) text += (rank ? ",\n" : "") + all[rank];
  write_file(path, text + "\n]}\n");
}

}  // namespace tessera
