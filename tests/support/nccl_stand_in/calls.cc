// SPDX-License-Identifier: Apache-2.0
// The calls of NCCL that move numbers, over MPI (mail.h). Every rank writes to every other what it
// calls, with sizes, types and roots, so a rank that calls something else is found by all others,
// and fails loudly. A call returns when the other ranks have made it, too: stricter than NCCL,
// whose streams wait instead. Its result is not there before the queue was waited for: until then
// it is garbage (tests/support/cuda_stand_in). So what a program forgets to wait for, a test sees.
//
// Sums have the order of Tessera's tree, unlike NCCL's: whatever differs from the CPU is a fault of
// the program.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "comm.h"
#include "fault.h"
#include "mail.h"

namespace nccl_stand_in {
namespace {

constexpr std::byte kGarbage{0xa5};

enum class Kind { all_reduce, reduce, reduce_scatter, all_gather, broadcast, send, recv };

struct Call {
  Kind kind;
  const void* in;
  void* out;
  size_t count;
  ncclDataType_t type;
  ncclRedOp_t op;
  int peer;  // or root
  ncclComm* comm;
  cudaStream_t stream;
  std::string about{};
};

size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8: return 1;
    case ncclFloat16:
    case ncclBfloat16: return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32: return 4;
    default: return 8;
  }
}

size_t bytes(const Call& call) {
  return call.count * size_of(call.type);
}

const char* name(Kind kind) {
  switch (kind) {
    case Kind::all_reduce: return "all-reduce";
    case Kind::reduce: return "reduce";
    case Kind::reduce_scatter: return "reduce-scatter";
    case Kind::all_gather: return "all-gather";
    case Kind::broadcast: return "broadcast";
    case Kind::send:
    case Kind::recv: return "message";
  }
  return "?";
}

bool between_two(const Call& call) {
  return call.kind == Kind::send || call.kind == Kind::recv;
}

// Equal on all who take part.
std::string about(const Call& call) {
  const auto text = [](auto number) { return std::to_string(number); };
  const std::string what = call.comm->name + ": " + name(call.kind) + " of " + text(call.count) +
                           " x type " + text(static_cast<int>(call.type));
  if (call.kind == Kind::send)
    return what + " from " + text(call.comm->rank) + " to " + text(call.peer);
  if (call.kind == Kind::recv)
    return what + " from " + text(call.peer) + " to " + text(call.comm->rank);
  return what + ", operation " + text(static_cast<int>(call.op)) + ", root " + text(call.peer) +
         ", call " + text(call.comm->calls);
}

// What this rank gives rank `to`: where it starts in `in`, and bytes.
std::pair<size_t, size_t> share(const Call& call, int to) {
  switch (call.kind) {
    case Kind::all_reduce:
    case Kind::all_gather: return {0, bytes(call)};
    case Kind::reduce: return {0, to == call.peer ? bytes(call) : 0};
    case Kind::reduce_scatter: return {static_cast<size_t>(to) * bytes(call), bytes(call)};
    case Kind::broadcast: return {0, call.comm->rank == call.peer ? bytes(call) : 0};
    case Kind::send:
    case Kind::recv: break;
  }
  return {0, bytes(call)};
}

void write_letters(const Call& call) {
  const auto* in = static_cast<const std::byte*>(call.in);
  for (int to = 0; to < call.comm->size(); ++to) {
    if (between_two(call) && (call.kind == Kind::recv || to != call.peer)) continue;
    const auto [first, size] = share(call, to);
    post(Lane::call, call.comm->ranks[static_cast<size_t>(to)], call.about,
         size > 0 ? in + first : nullptr, size);
  }
}

template <typename T>
T combined(T a, T b, ncclRedOp_t op) {
  return op == ncclSum ? static_cast<T>(a + b) : op == ncclMax ? std::max(a, b) : std::min(a, b);
}

// ((r0 + r1) + (r2 + r3)) ...
template <typename T>
std::vector<std::byte> reduced_as(std::vector<Letter> letters, const Call& call) {
  for (size_t left = letters.size(); left > 1; left = (left + 1) / 2)
    for (size_t i = 0; i < left; i += 2) {
      auto* to = reinterpret_cast<T*>(letters[i].content.data());
      const auto* other =
          i + 1 < left ? reinterpret_cast<T*>(letters[i + 1].content.data()) : nullptr;
      for (size_t k = 0; other != nullptr && k < call.count; ++k)
        to[k] = combined(to[k], other[k], call.op);
      if (i > 0) letters[i / 2] = std::move(letters[i]);
    }
  return std::move(letters[0].content);
}

std::vector<std::byte> reduced(std::vector<Letter> letters, const Call& call) {
  switch (call.type) {
    case ncclFloat32: return reduced_as<float>(std::move(letters), call);
    case ncclFloat64: return reduced_as<double>(std::move(letters), call);
    case ncclInt32: return reduced_as<int32_t>(std::move(letters), call);
    default: return reduced_as<int64_t>(std::move(letters), call);
  }
}

// Empty: nothing arrives here.
std::vector<std::byte> result_of(std::vector<Letter> letters, const Call& call) {
  switch (call.kind) {
    case Kind::reduce:
      if (call.comm->rank != call.peer) return {};
      return reduced(std::move(letters), call);
    case Kind::all_reduce:
    case Kind::reduce_scatter: return reduced(std::move(letters), call);
    case Kind::broadcast: return std::move(letters[static_cast<size_t>(call.peer)].content);
    case Kind::recv: return std::move(letters[0].content);
    case Kind::send: return {};
    case Kind::all_gather: break;
  }
  std::vector<std::byte> all;
  for (const Letter& letter : letters)
    all.insert(all.end(), letter.content.begin(), letter.content.end());
  return all;
}

// Garbage now, what arrived once somebody waits for it.
void deliver(const Call& call, std::vector<std::byte> result) {
  if (result.empty()) return;
  struct Delivery {
    void* to;
    std::vector<std::byte> result;
  };
  auto* delivery = new Delivery{call.out, std::move(result)};
  tessera_stand_in_now(
      call.stream,
      [](void* data) {
        const auto* what = static_cast<Delivery*>(data);
        std::fill_n(static_cast<std::byte*>(what->to), what->result.size(), kGarbage);
      },
      delivery);
  tessera_stand_in_later(
      call.stream,
      [](void* data) {
        const std::unique_ptr<Delivery> what(static_cast<Delivery*>(data));
        std::memcpy(what->to, what->result.data(), what->result.size());
      },
      delivery);
}

ncclResult_t read_letters(const Call& call) {
  std::vector<Letter> letters;
  for (int from = 0; from < call.comm->size(); ++from) {
    if (between_two(call) && (call.kind == Kind::send || from != call.peer)) continue;
    const int process = call.comm->ranks[static_cast<size_t>(from)];
    letters.push_back(collect(Lane::call, process));
    if (letters.back().about == call.about) continue;
    call.comm->state = ncclInvalidUsage;
    return refuse(ncclInvalidUsage, "calls differ: mine is `" + call.about + "`, that of process " +
                                        std::to_string(process) + " is `" + letters.back().about +
                                        "`");
  }
  deliver(call, result_of(std::move(letters), call));
  return ncclSuccess;
}

// Calls of one group do not wait for each other: all is written before anything is read.
ncclResult_t run(std::vector<Call>& calls) {
  const std::string fault = fault_of_next_call();
  static bool cut_off = false;
  if (fault == "silent" || cut_off) sleep_for_ever();
  if (fault == "error") return refuse(ncclSystemError, "an error on purpose");
  if (fault == "remote") cut_off = true;
  for (Call& call : calls) {
    if (fault == "smaller" && call.count > 1) --call.count;
    ++call.comm->calls;
    call.about = about(call);
    tessera_stand_in_now(
        call.stream, [](void* data) { write_letters(*static_cast<Call*>(data)); }, &call);
  }
  bool blocking = true;
  for (Call& call : calls) {
    if (const ncclResult_t result = read_letters(call); result != ncclSuccess) return result;
    call.comm->unsettled = !call.comm->blocking;
    call.comm->lost = cut_off;
    blocking = blocking && call.comm->blocking;
  }
  return blocking ? ncclSuccess : ncclInProgress;
}

struct Group {
  int depth = 0;
  std::vector<Call> calls;
};

Group& group() {
  static auto& the_only = *new Group;
  return the_only;
}

ncclResult_t take(Call call) {
  if (const ncclResult_t no = accepts(call.comm, name(call.kind)); no != ncclSuccess) return no;
  const bool sums = call.kind == Kind::all_reduce || call.kind == Kind::reduce ||
                    call.kind == Kind::reduce_scatter;
  const bool summable = call.type == ncclFloat32 || call.type == ncclFloat64 ||
                        call.type == ncclInt32 || call.type == ncclInt64;
  if (sums && !summable) return refuse(ncclInvalidArgument, "the stand-in adds no such type");
  if (call.peer >= call.comm->size()) return refuse(ncclInvalidArgument, "there is no such rank");
  group().calls.push_back(std::move(call));
  if (group().depth > 0) return ncclSuccess;
  std::vector<Call> alone = std::exchange(group().calls, {});
  return run(alone);
}

}  // namespace
}  // namespace nccl_stand_in

using nccl_stand_in::group;
using nccl_stand_in::Kind;
using nccl_stand_in::take;

ncclResult_t ncclGroupStart() {
  ++group().depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group().depth == 0) return nccl_stand_in::refuse(ncclInvalidUsage, "no group was started");
  if (--group().depth > 0) return ncclSuccess;
  auto calls = std::exchange(group().calls, {});
  return calls.empty() ? ncclSuccess : nccl_stand_in::run(calls);
}

ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return take({Kind::all_reduce, in, out, count, type, op, 0, comm, stream});
}
ncclResult_t ncclReduce(const void* in, void* out, size_t count, ncclDataType_t type,
                        ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream) {
  return take({Kind::reduce, in, out, count, type, op, root, comm, stream});
}
ncclResult_t ncclReduceScatter(const void* in, void* out, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return take({Kind::reduce_scatter, in, out, count, type, op, 0, comm, stream});
}
ncclResult_t ncclAllGather(const void* in, void* out, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return take({Kind::all_gather, in, out, count, type, ncclSum, 0, comm, stream});
}
ncclResult_t ncclBroadcast(const void* in, void* out, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return take({Kind::broadcast, in, out, count, type, ncclSum, root, comm, stream});
}
ncclResult_t ncclSend(const void* in, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return take({Kind::send, in, nullptr, count, type, ncclSum, peer, comm, stream});
}
ncclResult_t ncclRecv(void* out, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return take({Kind::recv, nullptr, out, count, type, ncclSum, peer, comm, stream});
}
