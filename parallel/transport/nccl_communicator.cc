// SPDX-License-Identifier: Apache-2.0
// Collectives over NCCL, on tensors of a GPU. Built into libtessera_cuda.so
// (parallel/transport/nccl_plugin.h says what it exports). Tensors of the host, and so all
// decisions, go over the group's host Communicator.
//
// No call waits for the device. The caller's stream waits: for a started collective from wait() on.
// Which call comes when, and what happens to a rank that does not come: nccl_lane.h.
//
// Sums have the order of NCCL's algorithm, not of our tree: repeatable on one set of GPUs, within
// rounding of other transports (docs/numerics.md). bf16 and f16 are summed in f32 and rounded once.
//
// Cuts into equal parts are NCCL's reduce-scatter and all-gather; others one ncclReduce or
// ncclBroadcast a part, in one NCCL group. NCCL has no channels: what one rank sends another is
// received in the order of sending.
#include <memory>
#include <utility>
#include <vector>

#include <nccl.h>

#include "kernels/base/trace.h"
#include "kernels/copy.h"
#include "parallel/transport/collective_arguments.h"
#include "parallel/transport/nccl_lane.h"
#include "parallel/transport/nccl_plugin.h"

namespace tessera {
namespace {

std::string nccl_version() {
  int version = 0;  // 22809 for 2.28.9
  (void)ncclGetVersion(&version);
  return std::to_string(version / 10000) + "." + std::to_string(version % 10000 / 100) + "." +
         std::to_string(version % 100);
}

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return ncclFloat32;
    case DType::f64: return ncclFloat64;
    case DType::i32: return ncclInt32;
    case DType::i64: return ncclInt64;
    default: fail(ErrorKind::internal, "NCCL: no sums of", name(dtype));
  }
}

ncclRedOp_t operation_of(Reduce op) {
  switch (op) {
    case Reduce::sum: return ncclSum;
    case Reduce::max: return ncclMax;
    case Reduce::min: return ncclMin;
  }
  fail(ErrorKind::internal, "NCCL: no such reduction");
}

// What partial sums of `dtype` travel as.
DType summed_as(DType dtype) {
  return dtype == DType::bf16 || dtype == DType::f16 ? DType::f32 : dtype;
}

// What `stream` is given from now on waits; a trace shows for how long.
void hold(const Event& behind, Stream& stream) {
  const trace::Range range(stream, "comm", [] { return "wait for NCCL"; });
  behind.hold(stream);
}

// A launched collective: whose stream waits for it, and what it reads and writes.
class Launched : public Pending {
 public:
  Launched(std::shared_ptr<Event> behind, Stream& stream, std::vector<Tensor> keep)
      : behind_(std::move(behind)), stream_(stream), keep_(std::move(keep)) {}
  void wait() override {
    if (behind_) hold(*behind_, stream_);
    keep_.clear();
  }
  bool test() override { return !behind_ || behind_->reached(); }

 private:
  std::shared_ptr<Event> behind_;  // null: there was nothing to do
  Stream& stream_;
  std::vector<Tensor> keep_;
};

// A message, launched when somebody asks for it.
class Posted : public Pending {
 public:
  Posted(NcclLane& lane, std::shared_ptr<NcclLane::Batch> batch, Stream& stream, Tensor keep)
      : lane_(lane), batch_(std::move(batch)), stream_(stream), keep_(std::move(keep)) {}
  void wait() override {
    if (!batch_->behind) lane_.flush();
    hold(*batch_->behind, stream_);
    keep_ = {};
  }
  bool test() override {
    if (!batch_->behind) lane_.flush();
    return batch_->behind->reached();
  }

 private:
  NcclLane& lane_;
  std::shared_ptr<NcclLane::Batch> batch_;
  Stream& stream_;
  Tensor keep_;
};

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<NcclHandle> comm, Communicator& over)
      : over_(over),
        comm_(std::move(comm)),
        lane_(comm_->lane()),
        transport_("NCCL " + nccl_version()) {}
  int rank() const override { return over_.rank(); }
  int size() const override { return over_.size(); }
  const std::string& label() const override { return over_.label(); }
  const char* transport() const override { return transport_.c_str(); }

  void all_reduce(Stream& stream, const Tensor& in, const Tensor& out, Reduce op,
                  const char* tag) override {
    if (!on_device(stream, in)) return host().all_reduce(stream, in, out, op, tag);
    check_all_reduce(in, out);
    if (in.size() == 0) return;
    const Tensor from = wide(in), to = same_type(from, in) ? out : from;
    launch_and_hold(stream, "all-reduce", tag, in, [&](ncclComm_t comm, cudaStream_t native) {
      widen(in, from);
      lane_.check(ncclAllReduce(from.data(), to.data(), elements(from), type_of(from.dtype()),
                                operation_of(op), comm, native));
      narrow(to, out);
    });
  }

  std::unique_ptr<Pending> start_reduce_scatter(Stream& stream, const Tensor& in, const Cut& cut,
                                                const Tensor& out, Reduce op,
                                                const char* tag) override {
    if (!on_device(stream, in)) return host().start_reduce_scatter(stream, in, cut, out, op, tag);
    check_reduce_scatter(in, cut, out, rank(), size());
    if (in.size() == 0) return nothing(stream);
    const Tensor from = wide(in);
    const Tensor to = out.size() == 0 || same_type(from, out)
                          ? out
                          : Tensor(in.device(), from.dtype(), {out.size()}, kClass);
    auto behind = launch(stream, "reduce-scatter", tag, in, [&](ncclComm_t comm, cudaStream_t s) {
      widen(in, from);
      reduce_parts(from, row_elements(in), cut, to, op, comm, s);
      narrow(to, out);
    });
    return std::make_unique<Launched>(behind, stream, std::vector<Tensor>{in, from, to, out});
  }

  std::unique_ptr<Pending> start_all_gather(Stream& stream, const Tensor& in, const Cut& cut,
                                            const Tensor& out, const char* tag) override {
    if (!on_device(stream, out)) return host().start_all_gather(stream, in, cut, out, tag);
    check_all_gather(in, cut, out, rank(), size());
    if (out.size() == 0) return nothing(stream);
    auto behind = launch(stream, "all-gather", tag, out, [&](ncclComm_t comm, cudaStream_t s) {
      gather_parts(bytes_of(in), cut, out, comm, s);
    });
    return std::make_unique<Launched>(behind, stream, std::vector<Tensor>{in, out});
  }

  void all_to_all(Stream& stream, const Tensor& in, const Cut& in_cut, const Tensor& out,
                  const Cut& out_cut, const char* tag) override {
    if (!on_device(stream, in) || !on_device(stream, out))
      return host().all_to_all(stream, in, in_cut, out, out_cut, tag);
    check_all_to_all(in, in_cut, out, out_cut, rank(), size());
    if (in.size() == 0 && out.size() == 0) return;
    launch_and_hold(stream, "all-to-all", tag, in, [&](ncclComm_t comm, cudaStream_t native) {
      lane_.check(ncclGroupStart());
      for (int peer = 0; peer < size(); ++peer) {
        const Bytes sent = bytes_of(in, in_cut.part(peer));
        const Bytes received = bytes_of(out, out_cut.part(peer));
        if (sent.size > 0)
          lane_.check(ncclSend(sent.data, count(sent), ncclInt8, peer, comm, native));
        if (received.size > 0)
          lane_.check(ncclRecv(received.data, count(received), ncclInt8, peer, comm, native));
      }
      lane_.check(ncclGroupEnd());
    });
  }

  void broadcast(Stream& stream, const Tensor& inout, int root, const char* tag) override {
    if (!on_device(stream, inout)) return host().broadcast(stream, inout, root, tag);
    check_contiguous("broadcast", inout);
    if (inout.size() == 0) return;
    launch_and_hold(stream, "broadcast", tag, inout, [&](ncclComm_t comm, cudaStream_t native) {
      const Bytes bytes = bytes_of(inout);
      lane_.check(
          ncclBroadcast(bytes.data, bytes.data, count(bytes), ncclInt8, root, comm, native));
    });
  }

  std::unique_ptr<Pending> start_send(Stream& stream, const Tensor& in, int peer, int channel,
                                      const char* tag) override {
    if (!on_device(stream, in)) return host().start_send(stream, in, peer, channel, tag);
    return post(stream, in, true, peer, tag);
  }
  std::unique_ptr<Pending> start_recv(Stream& stream, const Tensor& out, int peer, int channel,
                                      const char* tag) override {
    if (!on_device(stream, out)) return host().start_recv(stream, out, peer, channel, tag);
    return post(stream, out, false, peer, tag);
  }

  void barrier(const char* tag) override { host().barrier(tag); }

 private:
  static constexpr MemoryClass kClass = MemoryClass::communication;

  // A rank without a part passes no tensor at all.
  static bool on_device(const Stream& stream, const Tensor& x) {
    return !stream.device().is_host() && (x.empty() || !x.device().is_host());
  }
  static bool same_type(const Tensor& a, const Tensor& b) { return a.dtype() == b.dtype(); }
  static size_t elements(const Tensor& x) { return static_cast<size_t>(x.size()); }
  static size_t count(const Bytes& bytes) { return static_cast<size_t>(bytes.size); }

  // Whoever waits for a peer's host lets it have first what its device may be waiting for.
  Communicator& host() {
    lane_.flush();
    return over_;
  }

  std::string what(const char* operation, const char* tag, const Tensor& x) const {
    return std::string(operation) + " (group " + label() + ", " +
           std::to_string(x.size() == 0 ? 0 : x.bytes()) + " bytes" +
           (*tag ? std::string(", ") + tag : std::string()) + ")";
  }

  // Behind what `stream` has been given so far; calls(communicator, stream).
  template <typename Calls>
  std::shared_ptr<Event> launch(Stream& stream, const char* operation, const char* tag,
                                const Tensor& x, Calls calls) {
    lane_.follow(stream);
    return lane_.launch(comm_->get(), what(operation, tag, x),
                        [&] { calls(comm_->get(), lane_.native()); });
  }
  // `stream` goes on when it is done.
  template <typename Calls>
  void launch_and_hold(Stream& stream, const char* operation, const char* tag, const Tensor& x,
                       Calls calls) {
    hold(*launch(stream, operation, tag, x, calls), stream);
  }
  static std::unique_ptr<Pending> nothing(Stream& stream) {
    return std::make_unique<Launched>(nullptr, stream, std::vector<Tensor>{});
  }

  std::unique_ptr<Pending> post(Stream& stream, const Tensor& x, bool sent, int peer,
                                const char* tag) {
    const char* operation = sent ? "send" : "receive";
    check_contiguous(operation, x);
    if (x.size() == 0) return nothing(stream);
    lane_.follow(stream);
    auto batch = lane_.post(
        {comm_->get(), sent, x.data(), count(bytes_of(x)), peer, what(operation, tag, x)});
    return std::make_unique<Posted>(lane_, std::move(batch), stream, x);
  }

  // Where x's numbers are summed: x itself, or room for them in f32.
  static Tensor wide(const Tensor& x) {
    if (summed_as(x.dtype()) == x.dtype()) return x;
    return Tensor(x.device(), summed_as(x.dtype()), {x.size()}, kClass);
  }
  void widen(const Tensor& x, const Tensor& wide) {
    if (!same_type(x, wide)) cast(lane_.stream(), x.flat(), wide.flat());
  }
  void narrow(const Tensor& summed, const Tensor& out) {
    if (out.size() > 0 && !same_type(summed, out)) cast(lane_.stream(), summed.flat(), out.flat());
  }

  void reduce_parts(const Tensor& from, int64_t row, const Cut& cut, const Tensor& to, Reduce op,
                    ncclComm_t comm, cudaStream_t stream) {
    auto* first = static_cast<std::byte*>(from.data());
    void* mine = to.size() > 0 ? to.data() : nullptr;
    const auto type = type_of(from.dtype());
    if (equal_parts(cut)) {
      const size_t each = static_cast<size_t>(cut.part(0).extent * row);
      lane_.check(ncclReduceScatter(first, mine, each, type, operation_of(op), comm, stream));
      return;
    }
    lane_.check(ncclGroupStart());
    for (int part = 0; part < size(); ++part) {
      const Interval rows = cut.part(part);
      if (rows.extent * row == 0) continue;
      const void* start = first + rows.first * row * size_of(from.dtype());
      lane_.check(ncclReduce(start, part == rank() ? mine : nullptr,
                             static_cast<size_t>(rows.extent * row), type, operation_of(op), part,
                             comm, stream));
    }
    lane_.check(ncclGroupEnd());
  }

  void gather_parts(const Bytes& mine, const Cut& cut, const Tensor& out, ncclComm_t comm,
                    cudaStream_t stream) {
    if (equal_parts(cut)) {
      lane_.check(ncclAllGather(mine.data, out.data(), count(mine), ncclInt8, comm, stream));
      return;
    }
    lane_.check(ncclGroupStart());
    for (int part = 0; part < size(); ++part) {
      const Bytes there = bytes_of(out, cut.part(part));
      if (there.size == 0) continue;
      lane_.check(ncclBroadcast(part == rank() ? mine.data : there.data, there.data, count(there),
                                ncclInt8, part, comm, stream));
    }
    lane_.check(ncclGroupEnd());
  }
  bool equal_parts(const Cut& cut) const { return cut.is_even() && cut.rows() % size() == 0; }

  Communicator& over_;
  std::unique_ptr<NcclHandle> comm_;
  NcclLane& lane_;
  std::string transport_;
};

ncclConfig_t non_blocking() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  config.splitShare = 1;  // groups of one rank never run at the same time: one set of buffers
  return config;
}

class Ranks : public NcclRanks {
 public:
  Ranks(Communicator& control, Device device, double patience)
      : control_(control), lane_(std::make_shared<NcclLane>(device, patience)) {
    lane_->begin("drawing an id");
    ncclUniqueId id{};
    if (control.rank() == 0) lane_->check(ncclGetUniqueId(&id));
    const std::string text =
        control.broadcast(std::string(id.internal, sizeof id.internal), 0, "NCCL id");
    text.copy(id.internal, sizeof id.internal);
    ncclConfig_t config = non_blocking();
    all_ = std::make_unique<NcclHandle>(
        lane_, "NCCL's group of all " + std::to_string(control.size()) + " ranks",
        [&](ncclComm_t* comm) {
          return ncclCommInitRankConfig(comm, control.size(), id, control.rank(), &config);
        });
  }

  std::string version() const override { return nccl_version(); }

  // The color is the lowest rank of the group.
  std::unique_ptr<Communicator> group(Communicator& over) override {
    const auto color =
        static_cast<int>(over.all_reduce(int64_t{control_.rank()}, Reduce::min, "NCCL group"));
    ncclConfig_t config = non_blocking();
    auto handle = std::make_unique<NcclHandle>(
        lane_, "NCCL's group " + over.label() + " of " + std::to_string(over.size()) + " ranks",
        [&](ncclComm_t* comm) { return split(color, over.rank(), comm, &config); });
    return std::make_unique<NcclCommunicator>(std::move(handle), over);
  }

  void no_group() override {
    lane_->begin("standing aside while NCCL's groups are made");
    ncclComm_t none = nullptr;
    ncclConfig_t config = non_blocking();
    lane_->check(split(NCCL_SPLIT_NOCOLOR, 0, &none, &config));
  }

 private:
  ncclResult_t split(int color, int key, ncclComm_t* comm, ncclConfig_t* config) {
    lane_->check(ncclCommSplit(all_->get(), color, key, comm, config), all_->get());
    lane_->settle(all_->get());  // the new one is known from here on
    return ncclSuccess;
  }

  Communicator& control_;
  std::shared_ptr<NcclLane> lane_;
  std::unique_ptr<NcclHandle> all_;
};

}  // namespace
}  // namespace tessera

extern "C" const char* tessera_plugin_nccl_abi() {
  static const std::string abi = tessera::compiled_nccl_abi();
  return abi.c_str();
}

extern "C" tessera::NcclRanks* tessera_plugin_nccl(tessera::Communicator& control,
                                                   tessera::Device device, double patience) {
  return new tessera::Ranks(control, device, patience);
}
