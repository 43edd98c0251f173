// SPDX-License-Identifier: Apache-2.0
// Threads that share one loop at a time. A worker that the system has not woken in time is not
// waited for, and nobody spins longer than a moment: on a machine shared with other programs a
// thread that spins at a barrier keeps the very core that its partner needs.
#pragma once

#include <cstdint>

namespace tessera::cpu {

// Calls function(context, task) for each task < tasks, on the calling thread and at most
// threads - 1 workers; returns when all calls have. Serial when called from within a task or while
// another thread's loop is running. function does not throw.
void run_tasks(int threads, int64_t tasks, void (*function)(void* context, int64_t task),
               void* context);

}  // namespace tessera::cpu
