package ptx

import (
	"encoding/binary"
	"strings"
	"testing"
)

const head = ".version 8.0\n.target sm_90a\n.address_size 64\n"

// kernel wraps a body in an entry `k` with one pointer parameter and registers of every kind.
func kernel(body string) string {
	return head + ".extern .shared .align 1024 .b8 smem[];\n.visible .entry k(\n\t.param .u64 .ptr .align 1 k_param_0\n)\n{\n" +
		".reg .pred %p<16>;\n.reg .b16 %rs<16>;\n.reg .b32 %r<200>;\n.reg .b64 %rd<32>;\n" +
		"ld.param.b64 %rd1, [k_param_0];\ncvta.to.global.u64 %rd1, %rd1;\n" + body + "\n}\n"
}

func mustFunction(t testing.TB, src, name string) *Function {
	t.Helper()
	m, err := Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	f, err := m.Function(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestStoreByThreadIndex(t *testing.T) {
	f := mustFunction(t, kernel(`
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %rd2, %r1, 4;
	add.s64 %rd3, %rd1, %rd2;
	mul.lo.s32 %r2, %r1, %r1;
	st.global.b32 [%rd3], %r2;
	ret;`), "k")
	m := newArena()
	at := m.alloc(4 * 50)
	if _, err := f.Run(m, Launch{Grid: [3]int{1, 1, 1}, Block: [3]int{50, 1, 1}, Args: args(at)}, Schedule{}); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if got := binary.LittleEndian.Uint32(m.bytes(at+uint64(4*i), 4)); got != uint32(i*i) {
			t.Errorf("thread %d stored %d", i, got)
		}
	}
}

func TestParseNamesWhatItDoesNotKnow(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"frobnicate.b32 %r1, %r2;", "frobnicate"},
		{"add.rz.f32 %r1, %r2, %r3;", "rz"},
		{"add.u32 %r1, %r2;", "operands"},
		{"mov.b32 %r1, %rd1;", "64 bits"},
		{"bra NOWHERE;", "NOWHERE"},
		{"call foo;", "call"},
	} {
		_, err := Parse(kernel(c.body))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "line") {
			t.Errorf("%s: error %v does not name %q and a line", c.body, err, c.want)
		}
	}
}

func replaceOnce(t *testing.T, s, old, with string) string {
	t.Helper()
	if strings.Count(s, old) != 1 {
		t.Fatalf("%q occurs %d times", old, strings.Count(s, old))
	}
	return strings.Replace(s, old, with, 1)
}
