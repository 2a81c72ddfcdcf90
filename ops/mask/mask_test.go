package mask_test

import (
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/mask"
)

func TestWhatIsWrongIsNamed(t *testing.T) {
	for want, s := range map[string]mask.Spec{
		"window left is -2":                          {Window: &mask.Window{Left: -2}},
		"window right is -7":                         {Window: &mask.Window{Right: -7}},
		"cu_seqlens [1 10] does not begin with 0":    {CuSeqlens: []int{1, 10}},
		"cu_seqlens [] does not begin with 0":        {CuSeqlens: []int{}},
		"[0 7 5 10] is not sorted: 5 comes behind 7": {CuSeqlens: []int{0, 7, 5, 10}},
		"ends at 9, the sequence has 10 tokens":      {CuSeqlens: []int{0, 9}},
		`rectangle 1: kind "triangle" is not known`:  {Rectangles: []mask.Rectangle{{}, {Kind: "triangle"}}},
		"rectangle 0: queries [5,3)":                 {Rectangles: []mask.Rectangle{{QueryFrom: 5, QueryTo: 3}}},
	} {
		if _, err := mask.New(s, 10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v gives %v, want %q in it", s, err, want)
		}
	}
}
