// SPDX-License-Identifier: Apache-2.0
// Any bytes as a tokenizer.json: either an Error{data} or a tokenizer that encodes without harm,
// and gives the text back if it drops nothing.
#include <cstdlib>

#include "data/tokenizer.h"
#include "kernels/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    const Tokenizer tokenizer = Tokenizer::parse("fuzz.json", json);
    // A vocabulary may lack bytes (an Error), and a pre-tokenizer may drop text: no more is asked.
    for (const std::string_view text : {"ab aab\n12 it's \xc3\xa9\xff", "<|endoftext|>a"}) {
      const std::vector<int32_t> ids = tokenizer.encode(text, SpecialTokens::recognised);
      if (tokenizer.decode(ids).size() > 64) std::abort();
    }
    if (Tokenizer::parse("again.json", tokenizer.json()).hash() != tokenizer.hash()) std::abort();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) std::abort();
  }
  return 0;
}
