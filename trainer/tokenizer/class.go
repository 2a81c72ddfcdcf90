package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// The bits of classOf.
const (
	letter  = 1 << iota // \p{L}
	number              // \p{N}
	space               // \s: White_Space
	newline             // \r and \n, which are space too
)

// laterCategories holds the characters that Unicode 15.1 and 16.0 assigned, by general category. Hugging Face tokenizers
// 0.23 classes characters by Unicode 16.0, the unicode package of Go 1.26 by 15.0; the union follows either as they grow.
// Found by asking both about every code point.
var laterCategories = map[string][][2]rune{
	"Ll": {{0x1c8a, 0x1c8a}, {0xa7cd, 0xa7cd}, {0xa7db, 0xa7db}, {0x10d70, 0x10d85}},
	"Lm": {{0x10d4e, 0x10d4e}, {0x10d6f, 0x10d6f}, {0x16d40, 0x16d42}, {0x16d6b, 0x16d6c}},
	"Lo": {{0x105c0, 0x105f3}, {0x10d4a, 0x10d4d}, {0x10d4f, 0x10d4f}, {0x10ec2, 0x10ec4}, {0x11380, 0x11389}, {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5}, {0x113b7, 0x113b7}, {0x113d1, 0x113d1}, {0x113d3, 0x113d3}, {0x11bc0, 0x11be0}, {0x13460, 0x143fa}, {0x16100, 0x1611d}, {0x16d43, 0x16d6a}, {0x18cff, 0x18cff}, {0x1e5d0, 0x1e5ed}, {0x1e5f0, 0x1e5f0}, {0x2ebf0, 0x2ee5d}},
	"Lu": {{0x1c89, 0x1c89}, {0xa7cb, 0xa7cc}, {0xa7da, 0xa7da}, {0xa7dc, 0xa7dc}, {0x10d50, 0x10d65}},
	"Mc": {{0x113b8, 0x113ba}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5}, {0x113c7, 0x113ca}, {0x113cc, 0x113cd}, {0x113cf, 0x113cf}, {0x1612a, 0x1612c}},
	"Mn": {{0x897, 0x897}, {0x10d69, 0x10d6d}, {0x10efc, 0x10efc}, {0x113bb, 0x113c0}, {0x113ce, 0x113ce}, {0x113d0, 0x113d0}, {0x113d2, 0x113d2}, {0x113e1, 0x113e2}, {0x11f5a, 0x11f5a}, {0x1611e, 0x16129}, {0x1612d, 0x1612f}, {0x1e5ee, 0x1e5ef}},
	"Nd": {{0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x16130, 0x16139}, {0x16d70, 0x16d79}, {0x1ccf0, 0x1ccf9}, {0x1e5f1, 0x1e5fa}},
	"Pd": {{0x10d6e, 0x10d6e}},
	"Po": {{0x1b4e, 0x1b4f}, {0x1b7f, 0x1b7f}, {0x113d4, 0x113d5}, {0x113d7, 0x113d8}, {0x11be1, 0x11be1}, {0x16d6d, 0x16d6f}, {0x1e5ff, 0x1e5ff}},
	"Sm": {{0x10d8e, 0x10d8f}},
	"So": {{0x2427, 0x2429}, {0x2ffc, 0x2fff}, {0x31e4, 0x31e5}, {0x31ef, 0x31ef}, {0x1cc00, 0x1ccef}, {0x1cd00, 0x1ceb3}, {0x1f8b2, 0x1f8bb}, {0x1f8c0, 0x1f8c1}, {0x1fa89, 0x1fa89}, {0x1fa8f, 0x1fa8f}, {0x1fabe, 0x1fabe}, {0x1fac6, 0x1fac6}, {0x1fadc, 0x1fadc}, {0x1fadf, 0x1fadf}, {0x1fae9, 0x1fae9}, {0x1fbcb, 0x1fbef}},
}

// later reports whether r was assigned to a category that starts with name by a Unicode version after Go's.
func later(name string, r rune) bool {
	for category, ranges := range laterCategories {
		if category[:len(name)] != name {
			continue
		}
		for _, span := range ranges {
			if span[0] <= r && r <= span[1] {
				return true
			}
		}
	}
	return false
}

// asciiClasses answers classOf for the characters that matter most without a call.
var asciiClasses = func() (t [utf8.RuneSelf]uint8) {
	for r := range t {
		t[r] = computeClass(rune(r))
	}
	return t
}()

// planeClasses is the class of every character of the basic plane, built when a text first needs it.
var planeClasses = sync.OnceValue(func() *[1 << 16]uint8 {
	var t [1 << 16]uint8
	mark := func(bit uint8, table *unicode.RangeTable) {
		for _, span := range table.R16 {
			for r := uint32(span.Lo); r <= uint32(span.Hi); r += uint32(span.Stride) {
				t[r] |= bit
			}
		}
	}
	mark(letter, unicode.L)
	mark(number, unicode.N)
	mark(space, unicode.White_Space)
	for category, ranges := range laterCategories {
		for _, span := range ranges {
			for r := span[0]; r <= span[1] && r < 1<<16; r++ {
				switch category[0] {
				case 'L':
					t[r] |= letter
				case 'N':
					t[r] |= number
				}
			}
		}
	}
	t['\r'] |= newline
	t['\n'] |= newline
	return &t
})

// classOf returns the bits of r.
func classOf(r rune) uint8 {
	if uint32(r) < utf8.RuneSelf {
		return asciiClasses[r]
	}
	if uint32(r) < 1<<16 {
		return planeClasses()[r]
	}
	return computeClass(r)
}

func computeClass(r rune) uint8 {
	var class uint8
	switch {
	case r == '\r' || r == '\n':
		class = space | newline
	case unicode.IsSpace(r):
		class = space
	case unicode.IsLetter(r) || later("L", r):
		class = letter
	case unicode.IsNumber(r) || later("N", r):
		class = number
	}
	return class
}
