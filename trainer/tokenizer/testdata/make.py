"""Makes the tokenizers and golden ids of this folder, and testdata/bytes of the repository, with Hugging Face tokenizers.

    pip install tokenizers==0.23.3
    python make.py TEXT OUT BYTES

TEXT is tinyshakespeare.txt (public domain), OUT this folder, BYTES the folder for the byte tokenizer. The tokenizers are
trained here; golden.json is what the library answers.
"""

import json
import os
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = [
    "", " ", "Hello world", "   leading and   inner  spaces  ", "I'll we've DON'T it'S 'sudo' 'ſ x'LLy", "12345 67 8 3.14 1,000,000",
    "tab\tand\nnewline\r\nand\n\n\nmany   \n  ", "naïve cafe\u0301 Ångström ﬁ ß", "日本語のテキスト、中文。한국어 \u1100\u1161",
    "👨‍👩‍👧‍👦 🇩🇪 🧑🏽‍🚀", "١٢٣٤٥ ½ Ⅷ ²", "no\u00a0break\u00a0\u00a0space\u3000wide\u2028line\u0085next", "a\x00b\x7f\x0bc", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 4,
    "<|bos|>text<|eos|> <|bos|>", "<s>text</s> <s>", "a <mask> b<mask>  c <sep>  d", "word wordy word, subword word", "CAFE\u0301 café cafe\u0301s",
    "for i := range n {\n\t\tx[i] += 1 // step\n\t}\r\n", "\u1c89\u1c8a \U00010d40\U00010d41 \U0002ebf0", "▁Ġ<0x41> \ufffd \ufeff", "x" * 60 + " " * 60 + "\n" * 60 + "7" * 60,
]


def byte_level(corpus, split, normalizer, bos):
    t = Tokenizer(models.BPE(ignore_merges=bos))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split)
    if split:
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), t.pre_tokenizer])
    t.decoder = decoders.ByteLevel()
    if normalizer:
        t.normalizer = normalizer
    special = ["<|bos|>", "<|eos|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet, show_progress=False))
    if bos:
        t.post_processor = processors.TemplateProcessing(single="<|bos|> $A", special_tokens=[("<|bos|>", 0)])
    return t


def with_added(t):
    t.add_tokens([AddedToken("<mask>", lstrip=True, special=True), AddedToken("<sep>", rstrip=True, special=True)])
    t.add_tokens([AddedToken("word", single_word=True, normalized=False), AddedToken("cafe\u0301", normalized=True)])
    return t


def sentence_piece(corpus):
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    t.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for training only: words
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=520, special_tokens=special, show_progress=False))
    raw = json.loads(t.to_str())
    raw["pre_tokenizer"] = None
    raw["added_tokens"] = raw["added_tokens"][:3]
    raw["model"]["merges"] = [" ".join(m) for m in raw["model"]["merges"]]
    t = Tokenizer.from_str(json.dumps(raw))
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return t, raw["model"]["merges"]


def answers(t):
    random.seed(1)
    out = []
    for text in TEXTS:
        ids = t.encode(text).ids
        out.append({"text": text, "ids": ids, "ids_no_special": t.encode(text, add_special_tokens=False).ids, "decoded": t.decode(ids)})
    for _ in range(12):  # any ids at all: what they decode to, with special tokens
        ids = [random.randrange(t.get_vocab_size()) for _ in range(8)]
        out.append({"decode_only": ids, "decoded": t.decode(ids, skip_special_tokens=False)})
    return out


def save(folder, t, merges=None):
    os.makedirs(folder, exist_ok=True)
    raw = json.loads(t.to_str())
    if merges:
        raw["model"]["merges"] = merges  # the older spelling, "a b"
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(raw, f, ensure_ascii=False, separators=(",", ":"))
    again = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    return answers(again)


def write(folder, golden):
    with open(os.path.join(folder, "golden.json"), "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(g, ensure_ascii=True) for g in golden) + "\n]\n")


def bytes_tokenizer():
    alphabet = {}
    visible = list(range(0x21, 0x7F)) + list(range(0xA1, 0xAD)) + list(range(0xAE, 0x100))
    hidden = 0
    for b in range(256):
        if b in visible:
            alphabet[chr(b)] = b
        else:
            alphabet[chr(256 + hidden)] = b
            hidden += 1
    t = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    t.decoder = decoders.ByteLevel()
    return t


def main():
    text, out, byte_folder = sys.argv[1:]
    corpus = open(text, encoding="utf-8").read()[:300_000].split("\n\n")
    made = {
        "llama3": byte_level(corpus, LLAMA3, None, True),
        "gpt2": byte_level(corpus, None, None, False),
        "qwen2": byte_level(corpus, QWEN2, normalizers.NFC(), False),
        "added": with_added(byte_level(corpus, GPT4O, normalizers.NFC(), False)),
    }
    for name, t in made.items():
        write(os.path.join(out, name), save(os.path.join(out, name), t))
    t, merges = sentence_piece(corpus)
    write(os.path.join(out, "sentencepiece"), save(os.path.join(out, "sentencepiece"), t, merges))
    golden = save(byte_folder, bytes_tokenizer())
    assert all(g["ids"] == list(g["text"].encode()) for g in golden if "text" in g)


if __name__ == "__main__":
    main()
