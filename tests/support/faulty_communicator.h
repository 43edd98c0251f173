// SPDX-License-Identifier: Apache-2.0
// A group that does one thing wrong, as a bug in a layer or a transport would: what `tessera
// verify` must find. Everything else goes through to the real group.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "parallel/communicator.h"

namespace tessera::test {

// One operation of one group, told by its tag. Empty functions: done right.
struct Plant {
  std::string label{};  // of the group: "data", "tensor", "world" ...
  std::string tag{};    // of the call
  // Called instead of the operation, with the real group to do what is right first or not at all.
  std::function<void(Communicator&, Stream&, const Tensor& in, const Tensor& out)> all_reduce{};
  std::function<void(Communicator&, Stream&, const Tensor& in, const Cut&, const Tensor& out)>
      reduce_scatter{};
  std::function<void(Communicator&, Stream&, const Tensor& in, const Cut&, const Tensor& out)>
      all_gather{};
  std::function<void(Communicator&, Stream&, const Tensor& in, const Cut& in_cut, const Tensor& out,
                     const Cut& out_cut)>
      all_to_all{};
  std::function<int(int channel)> channel{};  // of a send
};

// REQUIRES that `inner` outlives it.
std::unique_ptr<Communicator> faulty(Communicator& inner, const Plant& plant);

}  // namespace tessera::test
