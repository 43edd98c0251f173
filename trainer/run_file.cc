// SPDX-License-Identifier: Apache-2.0
#include "trainer/run_file.h"

#include "kernels/base/log.h"
#include "kernels/base/warning.h"

namespace tessera {

int64_t RunFile::append(std::string_view record) {
  const int64_t lost = file_.lost();
  if (!file_.append(record)) {
    if (lost == 0)
      log::warn(coded(Warning::records_missing,
                      path() + " cannot be written: " + file_.reason() +
                          "; training goes on, records are missing there until it can"));
    return 0;
  }
  if (lost > 0)
    log::warn(coded(Warning::records_missing, path() + " is written again; " +
                                                  std::to_string(lost) + " records are missing"));
  return lost;
}

}  // namespace tessera
