# SPDX-License-Identifier: Apache-2.0
"""Makes the tokenizer vectors beside this file with Hugging Face's `tokenizers` (pip install tokenizers==0.23.3).

  train_text.txt   what train_text() makes
  gpt2_style.json  a small byte-level BPE that Hugging Face trained on it
  vectors.json     other pre_tokenizers and added_tokens for the same model (among them DeepSeek-V3's),
                   texts, and the ids that Hugging Face gives them
"""
import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
EOD = "<|endoftext|>"


def train_text():
    """Text with many ties between pairs: made of few syllables by a small generator, no file needed."""
    state, words = 12345, []
    syllables = ["ka", "to", "mi", "ra", "sen", "do", "lu", "é", "ß", "aa", "the", "ing", "'s", "12"]
    for i in range(3000):
        word = ""
        for _ in range(1 + state // 65536 % 4):
            state = (state * 1103515245 + 12345) % 2**31
            word += syllables[state // 65536 % len(syllables)]
        words.append(word + ("\n" if i % 17 == 0 else ""))
    return " ".join(words) + "\n日本語のテキスト 日本 語 aaaaaaa aaaa aaaaaaaaaaaa\n"


TEXTS = [
    "", " ", "a", "Hello, world!", "kato mira  sendo\n\n  lu\t\tthe ing", "it's we'll I'd they've 'tis 'S",
    "1234567890 12 a1b2 ½ ²³ ٣٤ Ⅷ", "日本語のテキスト、日本。 ひらがな カタカナ", "naïve café Straße ΑΒΓ привет שלום مرحبا",
    "😀 👩‍👩‍👧 flags 🇩🇪", "   leading and trailing   ", "\r\n\r\nline\r\n", "tab\tand\u00a0nbsp\u2003em", "a\u0301 combining \u0301",
    "aaaaaaaaaaaaaaaaaaaaaaaa", "katokatokatokatokatokatokatokatokatokatokatokatokatokatokatokatokato",
    "x = foo(bar[1], **kw)  # comment\nif (a->b != c::d) { return; }", "\u0000\u0001\u007f control", "100,000.50 $5 €6 £7",
    EOD, "a" + EOD + "b", "<think>hm</think> so", "end.",
]


def gpt2_style():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[EOD], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([train_text()], trainer)
    return tokenizer


def deepseek_style(base):
    """DeepSeek-V3's pre_tokenizer, written out from its tokenizer.json."""
    tokenizer = Tokenizer.from_str(base.to_str())
    punctuation = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
    words = (punctuation + r"""|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
             r"""|\s*[\r\n]+|\s+(?!\S)|\s+""")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated"),
        pre_tokenizers.Split(Regex("[一-龥぀-ゟ゠-ヿ]+"), "isolated"),
        pre_tokenizers.Split(Regex(words), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.add_special_tokens(["<｜end▁of▁sentence｜>"])
    return tokenizer


def splits(base):
    """One tokenizer for each behaviour of Split and for Digits."""
    for name in ["isolated", "removed", "contiguous", "merged_with_previous", "merged_with_next"]:
        for invert in [False, True]:
            tokenizer = Tokenizer.from_str(base.to_str())
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
                pre_tokenizers.Split("a", name, invert), pre_tokenizers.ByteLevel(False, use_regex=False)])
            yield f"split_{name}_{'invert' if invert else 'plain'}", tokenizer
    for individual in [False, True]:
        tokenizer = Tokenizer.from_str(base.to_str())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual), pre_tokenizers.ByteLevel(False, use_regex=True)])
        yield f"digits_{individual}", tokenizer


def main():
    base = gpt2_style()
    base.save(str(HERE / "gpt2_style.json"))
    (HERE / "train_text.txt").write_text(train_text(), encoding="utf-8")
    full = deepseek_style(base)
    vectors = {"texts": TEXTS, "ids": {}, "pre_tokenizers": {}, "added_tokens": {}}
    for name, tokenizer in [("gpt2_style", base), ("deepseek_style", full), *splits(base)]:
        vectors["ids"][name] = [tokenizer.encode(text).ids for text in TEXTS]
        for part in ["pre_tokenizer", "added_token"]:
            vectors[part + "s"][name] = json.loads(tokenizer.to_str())[part if part[0] == "p" else part + "s"]
    (HERE / "vectors.json").write_text(json.dumps(vectors, separators=(",", ":")), encoding="utf-8")


main()
