// SPDX-License-Identifier: Apache-2.0
#include "launch/verb/common_flags.h"

#include "kernels/base/check.h"
#include "launch/run/made_with.h"

namespace tessera {
namespace {

std::string complaint_about_list(const std::string& text) {
  try {
    parse_allowed(text);
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

Flag recipe_row(std::string& path, const std::string& help) {
  return {"recipe", &path, help, {}, {.required = true}};
}

Flag overrides_row(std::vector<std::string>& overrides, const std::string& help) {
  return {"overrides", &overrides, help};
}

Flag json_row(bool& json) {
  return {"--json", &json, "machine-readable"};
}

Flag take_over_row(bool& take_over) {
  return {"--take-over", &take_over,
          "write although another job seems to hold the directory; for one that is gone"};
}

Flag allow_changed_row(std::string& list) {
  return {"--allow-changed", &list,
          "go on although these differ from what the checkpoint was made with: a list of "
          "model, tokenizer, data",
          Accepts{complaint_about_list}};
}

Flag checkpoint_row(std::string& path) {
  return {"path", &path, "run directory, checkpoints directory or step", {}, {.required = true}};
}

Flag model_row(std::string& path) {
  return {"checkpoint", &path, "run, step or Hugging Face directory", {}, {.required = true}};
}

}  // namespace tessera
