// SPDX-License-Identifier: Apache-2.0
// A job tells whoever started it what can be asked of it. TESSERA_READY_FILE names a file, to
// which rank 0 appends a line when all ranks keep signals for the training loop ("ready": before
// that a forwarded signal could end a rank that has only just been started), and one when a
// checkpoint of this job is durable for the first time ("saved": from then on a restart goes on
// from what the job itself has saved).
#pragma once

namespace tessera {

// Appends `word` as a line; does nothing where TESSERA_READY_FILE is not set. A file that cannot be
// written is warned of (W060).
void tell_supervisor(const char* word);

}  // namespace tessera
