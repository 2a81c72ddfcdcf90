package tokenizer_test

import (
	"fmt"

	"github.com/ringgrad/ringgrad/trainer/tokenizer"
)

func ExampleLoad() {
	tok, err := tokenizer.Load("testdata/sentencepiece")
	if err != nil {
		fmt.Println(err)
		return
	}
	ids, err := tok.Encode("the king's 日", true)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%q\n", tok.Pieces(ids))
	fmt.Println(tok.Decode(ids, true))
	// Output:
	// ["<s>" "▁the" "▁k" "ing" "'s" "▁" "<0xE6>" "<0x97>" "<0xA5>" "</s>"]
	// the king's 日
}
