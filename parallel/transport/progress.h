// SPDX-License-Identifier: Apache-2.0
// What a rank has started keeps moving while it waits for something else: another rank may need
// it before it can give what is waited for. Used by the one thread that communicates.
#pragma once

namespace tessera {

class Progressing {
 public:
  Progressing();
  Progressing(const Progressing&) = delete;
  Progressing& operator=(const Progressing&) = delete;
  // Moves what can be moved without blocking; true when something did.
  virtual bool progress() = 0;
  // False when it is over or when a doorbell (parallel/transport/doorbell.h) tells of every change.
  virtual bool must_be_polled() const = 0;

 protected:
  ~Progressing();
};

bool progress_everything();
bool anything_must_be_polled();

}  // namespace tessera
