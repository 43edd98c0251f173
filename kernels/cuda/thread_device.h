// SPDX-License-Identifier: Apache-2.0
// Gives every thread the device that its calls of CUDA are about. CUDA lets every thread begin with
// device 0 and makes a context of several hundred MiB there at its first call that needs one: on a
// machine with many GPUs each rank's watchdog would take memory of the first rank's GPU. So the
// device that a process works on is kept here, and a thread that has chosen none is given it. Kept
// inside kernels/cuda. Thread-safe.
#pragma once

namespace tessera::cuda {

// The calling thread's device from now on, and that of threads which will choose none.
void choose_device(int device);

// To be called before a call of CUDA that names no device: gives the calling thread the process's
// device, unless the thread has one or nobody has chosen yet. Throws nothing; where CUDA fails, the
// call that follows says so.
void enter_thread() noexcept;

// Prepares the thread for a call about `device`; a thread without a device stays with that one.
void enter_thread(int device);

}  // namespace tessera::cuda
