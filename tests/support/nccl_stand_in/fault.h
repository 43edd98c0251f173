// SPDX-License-Identifier: Apache-2.0
// Faults on purpose, so that tests see what becomes of them. $TESSERA_NCCL_STAND_IN_FAULT names
// one:
//   absent@1       process 1 never comes to the making of a communicator
//   silent@1:20    it never returns from its 20th call
//   error@1:20     that call returns ncclSystemError
//   remote@1:20    after that call a peer is gone: nothing comes any more, and only
//                  ncclCommGetAsyncError() of another thread tells
//   smaller@1:20   that call asks for one element less than the others do
#pragma once

#include <string>

namespace nccl_stand_in {

void stumble_at_the_start();
// The fault of the call that is about to be made, counted over all communicators; empty: none.
std::string fault_of_next_call();
[[noreturn]] void sleep_for_ever();

}  // namespace nccl_stand_in
