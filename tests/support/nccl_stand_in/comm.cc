// SPDX-License-Identifier: Apache-2.0
#include "comm.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>

#include "fault.h"
#include "mail.h"

namespace nccl_stand_in {
namespace {

constexpr int kVersion = 22899;  // 2.28.99

std::string& last_error() {
  static std::string& text = *new std::string;
  return text;
}

template <typename T>
std::vector<T> values_of(const Letter& letter) {
  std::vector<T> values(letter.content.size() / sizeof(T));
  std::memcpy(values.data(), letter.content.data(), values.size() * sizeof(T));
  return values;
}

// Who made the id, and its how many-th it is.
struct Id {
  int process;
  int number;
};

// The maker of the id learns all processes from them and tells everybody.
std::function<bool()> meeting(ncclComm* comm, Id id, int ranks) {
  const int mine[] = {my_process(), comm->rank};
  post(Lane::init, id.process, comm->name, mine, sizeof mine);
  auto known = std::make_shared<std::vector<int>>(static_cast<size_t>(ranks), kAnybody);
  auto missing = std::make_shared<int>(id.process == my_process() ? ranks : 0);
  return [=] {
    Letter letter;
    while (*missing > 0 && try_collect(Lane::init, kAnybody, letter)) {
      const auto who = values_of<int>(letter);
      known->at(static_cast<size_t>(who[1])) = who[0];
      if (--*missing == 0)
        for (const int process : *known)
          post(Lane::list, process, comm->name, known->data(), known->size() * sizeof(int));
    }
    if (*missing > 0 || !try_collect(Lane::list, id.process, letter)) return false;
    comm->ranks = values_of<int>(letter);
    return true;
  };
}

// Everybody tells everybody color and key. made: null without a color.
std::function<bool()> parting(ncclComm* parent, int color, int key, ncclComm* made) {
  const std::string about = parent->name + ", split " + std::to_string(parent->splits);
  const int mine[] = {color, key};
  for (const int process : parent->ranks) post(Lane::split, process, about, mine, sizeof mine);
  auto answers = std::make_shared<std::vector<std::vector<int>>>(parent->ranks.size());
  return [=] {
    for (size_t rank = 0; rank < answers->size(); ++rank) {
      Letter letter;
      if (!answers->at(rank).empty()) continue;
      if (!try_collect(Lane::split, parent->ranks[rank], letter)) return false;
      if (letter.about != about)
        refuse(ncclInvalidUsage, "`" + about + "` meets `" + letter.about + "`");
      answers->at(rank) = values_of<int>(letter);
    }
    if (made == nullptr) return true;
    std::vector<std::pair<int, int>> members;  // key, process
    for (size_t rank = 0; rank < answers->size(); ++rank)
      if (answers->at(rank)[0] == color)
        members.emplace_back(answers->at(rank)[1], parent->ranks[rank]);
    std::stable_sort(members.begin(), members.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (const auto& [unused, process] : members) {
      if (process == my_process()) made->rank = made->size();
      made->ranks.push_back(process);
    }
    return true;
  };
}

void go_on(ncclComm* comm) {
  if (!comm->advance || !comm->advance()) return;
  comm->advance = nullptr;
  comm->state = ncclSuccess;
}

ncclResult_t begin_making(ncclComm* comm) {
  if (!comm->blocking) return ncclInProgress;
  while (comm->advance) go_on(comm);
  return ncclSuccess;
}

}  // namespace

ncclResult_t refuse(ncclResult_t result, const std::string& why) {
  last_error() = why;
  std::fprintf(stderr, "NCCL stand-in, process %d: %s\n", my_process(), why.c_str());
  return result;
}

ncclResult_t accepts(const ncclComm* comm, const char* call) {
  if (comm == nullptr) return refuse(ncclInvalidArgument, std::string(call) + " without a comm");
  if (comm->state == ncclInProgress || comm->unsettled)
    return refuse(ncclInvalidUsage,
                  comm->name + ": " + call + " while the last call is in progress");
  if (comm->state != ncclSuccess) return refuse(comm->state, comm->name + " is no more");
  return ncclSuccess;
}

}  // namespace nccl_stand_in

using nccl_stand_in::refuse;

ncclResult_t ncclGetVersion(int* version) {
  *version = nccl_stand_in::kVersion;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess: return "no error";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInvalidUsage: return "invalid usage";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInProgress: return "NCCL operation in progress";
    default: return "unhandled system error";
  }
}

const char* ncclGetLastError(ncclComm_t) {
  return nccl_stand_in::last_error().c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static int number = 0;
  const nccl_stand_in::Id mine = {nccl_stand_in::my_process(), ++number};
  *id = {};
  std::memcpy(id->internal, &mine, sizeof mine);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  nccl_stand_in::Id who{};
  std::memcpy(&who, id.internal, sizeof who);
  nccl_stand_in::stumble_at_the_start();
  *comm = new ncclComm;
  (*comm)->name = "all " + std::to_string(who.number);
  (*comm)->rank = rank;
  (*comm)->blocking = config->blocking != 0;
  (*comm)->advance = nccl_stand_in::meeting(*comm, who, ranks);
  return nccl_stand_in::begin_making(*comm);
}

ncclResult_t ncclCommSplit(ncclComm_t comm, int color, int key, ncclComm_t* made,
                           ncclConfig_t* config) {
  if (const auto no = nccl_stand_in::accepts(comm, "ncclCommSplit"); no != ncclSuccess) return no;
  ++comm->splits;
  *made = color == NCCL_SPLIT_NOCOLOR ? nullptr : new ncclComm;
  if (*made != nullptr) {
    (*made)->name = comm->name + "/" + std::to_string(comm->splits);
    (*made)->blocking = config != nullptr ? config->blocking != 0 : comm->blocking;
    (*made)->parent = comm;
    // Its maker is done with it when the parent is.
    (*made)->advance = [comm] { return comm->state != ncclInProgress; };
  }
  comm->advance = nccl_stand_in::parting(comm, color, key, *made);
  comm->state = ncclInProgress;
  return nccl_stand_in::begin_making(comm);
}

// From any thread; only the maker's moves things.
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  const bool mine = comm->maker == std::this_thread::get_id();
  if (mine && comm->parent != nullptr && comm->advance) nccl_stand_in::go_on(comm->parent);
  if (mine) nccl_stand_in::go_on(comm);
  *state = comm->state;
  if (*state == ncclSuccess && comm->lost && !mine) *state = ncclRemoteError;
  if (*state != ncclSuccess) return ncclSuccess;
  if (comm->unsettled) *state = ncclInProgress;
  if (mine) comm->unsettled = false;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  return nccl_stand_in::accepts(comm, "ncclCommFinalize");
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  delete comm;
  return ncclSuccess;
}

// What it was asked for is never done; others are not told.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  comm->state = ncclInvalidUsage;
  comm->advance = nullptr;
  return ncclSuccess;
}
