package gradcheck

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nlpodyssey/safetensors"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn"
)

// Golden is an attention case that somebody else computed: inputs and what should come out, token-major as in
// ringattn.DenseInputs.
type Golden struct {
	Name   string // the file's name without .safetensors
	Source string // who computed it
	ringattn.DenseInputs
	Want ringattn.DenseResult
	// Float32 says that the file holds float32, so that nothing in it is known to float64's precision.
	Float32 bool
}

// maxElements bounds one tensor of a golden file.
const maxElements = 1 << 28

// ReadGolden reads one golden file. Errors name the file, and the tensor or key that is wrong.
func ReadGolden(path string) (Golden, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Golden{}, fmt.Errorf("gradcheck: %w", err)
	}
	g, err := ParseGolden(data)
	if err != nil {
		return Golden{}, fmt.Errorf("gradcheck: %s: %w", path, err)
	}
	g.Name = caseName(path)
	return g, nil
}

func caseName(path string) string {
	return strings.TrimSuffix(filepath.Base(path), ".safetensors")
}

// ParseGolden reads the bytes of a golden file.
func ParseGolden(data []byte) (Golden, error) {
	st, err := safetensors.Deserialize(data)
	if err != nil {
		return Golden{}, fmt.Errorf("not a whole safetensors file: %w", err)
	}
	_, header, err := safetensors.ReadMetadata(data)
	if err != nil {
		return Golden{}, fmt.Errorf("header: %w", err)
	}
	r := goldenReader{st: st, meta: header.Metadata()}
	return r.read()
}

// goldenReader keeps the first error, so that read can say what belongs where in one go.
type goldenReader struct {
	st    safetensors.SafeTensors
	meta  map[string]string
	dtype safetensors.DType
	err   error
}

func (r *goldenReader) read() (Golden, error) {
	var g Golden
	g.Source = r.meta["source"]
	r.shape(&g)
	r.options(&g)
	if r.err != nil {
		return Golden{}, r.err
	}
	B, T, H, K, D, Dv := g.Batch, g.Tokens, g.Heads, g.KVHeads, g.Dim, g.ValueDim
	g.Q = r.tensor("q", B, T, H, D)
	g.K = r.tensor("k", B, T, K, D)
	g.V = r.tensor("v", B, T, K, Dv)
	g.DOut = r.tensor("d_out", B, T, H, Dv)
	g.Want = ringattn.DenseResult{
		Out: r.tensor("out", B, T, H, Dv), LSE: r.tensor("lse", B, H, T),
		DQ: r.tensor("dq", B, T, H, D), DK: r.tensor("dk", B, T, K, D), DV: r.tensor("dv", B, T, K, Dv),
	}
	if r.has("d_sinks") && !r.has("sinks") {
		r.fail("tensor d_sinks comes without sinks")
	}
	if r.has("sinks") {
		g.Sinks, g.Want.DSinks = r.tensor("sinks", H), r.tensor("d_sinks", H)
	}
	if r.has("alibi_slopes") {
		g.ALiBiSlopes = r.tensor("alibi_slopes", H)
	}
	g.Float32 = r.dtype == safetensors.F32
	return g, r.err
}

func (r *goldenReader) has(name string) bool {
	_, ok := r.st.Tensor(name)
	return ok
}

// shape reads the six sizes off q and v.
func (r *goldenReader) shape(g *Golden) {
	q, v := r.dims("q"), r.dims("v")
	if r.err != nil {
		return
	}
	g.Batch, g.Tokens, g.Heads, g.Dim = q[0], q[1], q[2], q[3]
	g.KVHeads, g.ValueDim = v[2], v[3]
	if slices.Min(q) < 1 || slices.Min(v) < 1 {
		r.fail("q %v, v %v: every dimension must be at least 1", q, v)
	} else if g.Heads%g.KVHeads != 0 {
		r.fail("%d heads of q are not a multiple of %d heads of v", g.Heads, g.KVHeads)
	}
}

func (r *goldenReader) dims(name string) []int {
	t, ok := r.st.Tensor(name)
	if !ok {
		r.fail("tensor %s is missing", name)
		return nil
	}
	if len(t.Shape()) != 4 {
		r.fail("tensor %s has shape %v, want 4 dimensions", name, t.Shape())
		return nil
	}
	dims := make([]int, 4)
	for i, n := range t.Shape() {
		if n > maxElements {
			r.fail("tensor %s has shape %v, which is too large", name, t.Shape())
			return nil
		}
		dims[i] = int(n)
	}
	return dims
}

func (r *goldenReader) tensor(name string, shape ...int) []float64 {
	t, ok := r.st.Tensor(name)
	switch {
	case r.err != nil:
		return nil
	case !ok:
		r.fail("tensor %s is missing", name)
		return nil
	case !sameShape(t.Shape(), shape):
		r.fail("tensor %s has shape %v, want %v", name, t.Shape(), shape)
		return nil
	case name == "q":
		r.dtype = t.DType()
	case t.DType() != r.dtype:
		r.fail("tensor %s is %v, q is %v: all must be of one type", name, t.DType(), r.dtype)
		return nil
	}
	switch t.DType() {
	case safetensors.F64:
		return decode(t.Data(), 8, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) })
	case safetensors.F32:
		return decode(t.Data(), 4, func(b []byte) float64 {
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		})
	}
	r.fail("tensor %s is %v, want F64 or F32", name, t.DType())
	return nil
}

func sameShape(have []uint64, want []int) bool {
	return slices.EqualFunc(have, want, func(a uint64, b int) bool { return a == uint64(b) })
}

func decode(data []byte, size int, element func([]byte) float64) []float64 {
	out := make([]float64, len(data)/size)
	for i := range out {
		out[i] = element(data[i*size:])
	}
	return out
}

// options reads the metadata. What nobody knows is an error.
func (r *goldenReader) options(g *Golden) {
	for key := range r.meta {
		if !slices.Contains([]string{"source", "causal", "scale", "window_left", "window_right", "softcap", "cu_seqlens", "format"}, key) {
			r.fail("metadata key %q is unknown", key)
		}
	}
	switch v, ok := r.meta["causal"]; {
	case v == "true":
		g.Causal = true
	case ok && v != "false":
		r.fail("metadata causal is %q, want true or false", v)
	}
	g.Scale = 1 / math.Sqrt(float64(max(g.Dim, 1)))
	if v, ok := r.meta["scale"]; ok {
		if g.Scale = r.number("scale", v); g.Scale == 0 {
			r.fail("metadata scale is 0, which makes every key equal; leave it out for 1/√D")
		}
	}
	if v, ok := r.meta["softcap"]; ok {
		if g.Softcap = r.number("softcap", v); g.Softcap < 0 {
			r.fail("metadata softcap is %q, want a number above 0, or 0 for none", v)
		}
	}
	r.mask(g)
}

// mask reads the window and the documents.
func (r *goldenReader) mask(g *Golden) {
	left, right := r.side("window_left"), r.side("window_right")
	if left != mask.Unbounded || right != mask.Unbounded {
		g.Window = &mask.Window{Left: left, Right: right}
	}
	if v, ok := r.meta["cu_seqlens"]; ok {
		if err := json.Unmarshal([]byte(v), &g.CuSeqlens); err != nil || g.CuSeqlens == nil {
			r.fail("metadata cu_seqlens is %.80q, want an array of whole numbers: [0, ..., %d]", v, g.Tokens)
			return
		}
		if g.Batch != 1 {
			r.fail("metadata cu_seqlens with a batch of %d: documents are packed into a batch of 1", g.Batch)
		}
	}
	spec := mask.Spec{Causal: g.Causal, Window: g.Window, CuSeqlens: g.CuSeqlens}
	if err := spec.Validate(g.Tokens); err != nil {
		r.fail("metadata: %w", err)
	}
}

// side is one side of the window.
func (r *goldenReader) side(key string) int {
	v, ok := r.meta[key]
	if !ok {
		return mask.Unbounded
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < mask.Unbounded {
		r.fail("metadata %s is %q, want a number of keys, -1 for no bound", key, v)
	}
	return n
}

func (r *goldenReader) number(key, v string) float64 {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		r.fail("metadata %s is %q, want a finite number", key, v)
	}
	return n
}

func (r *goldenReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

// goldenFiles lists the files that the paths name: a folder stands for every *.safetensors in it.
func goldenFiles(paths []string) ([]string, error) {
	var files []string
	var errs []error
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("gradcheck: golden: %w", err))
		case !info.IsDir():
			files = append(files, p)
		default:
			found, _ := filepath.Glob(filepath.Join(p, "*.safetensors"))
			if len(found) == 0 {
				errs = append(errs, fmt.Errorf("gradcheck: golden: folder %s holds no .safetensors file", p))
			}
			files = append(files, found...)
		}
	}
	return files, errors.Join(errs...)
}
