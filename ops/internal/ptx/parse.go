package ptx

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Address-space windows. Shared addresses start above zero, as on the hardware, so that a null offset is caught; the
// generic windows lie where no simulated allocation does, with low halves that are not offsets.
const (
	sharedBase   = 1024
	sharedWindow = 0xffff_e001_4000_0000
	localWindow  = 0xffff_e002_5000_0000
	paramWindow  = 0xffff_e003_6000_0000
	globalWindow = 0xffff_e004_7000_0000 // the module's own .global and .const variables
	windowSize   = 1 << 28
)

// variable is a declared name with an address.
type variable struct {
	name    string
	space   string
	size    int
	align   int
	dynamic bool
	image   []byte
	addr    uint64 // in its own space
}

// Parse reads a PTX file and decodes every kernel. An opcode, type or modifier that the interpreter does not know is
// an error that names the line.
func Parse(src string) (*Module, error) {
	p := &parser{mod: &Module{}, src: statements(src)}
	for p.next < len(p.src) {
		st := p.src[p.next]
		if err := p.declaration(st); err != nil {
			return nil, err
		}
	}
	if p.mod.target == "" {
		return nil, fmt.Errorf("ptx: the text has no .target; is it PTX?")
	}
	return p.mod, nil
}

type parser struct {
	mod         *Module
	src         []statement
	next        int
	globalBytes int
	globals     []byte
}

// declaration reads one module-level statement.
func (p *parser) declaration(st statement) error {
	p.next++
	if strings.Contains(st.text, ".entry ") {
		return p.entry(st)
	}
	if err := p.directive(st); err != nil {
		return fmt.Errorf("ptx: line %d %q: %w", st.line, st.text, err)
	}
	return nil
}

// directive reads a module-level statement that is no kernel.
func (p *parser) directive(st statement) error {
	words := strings.Fields(st.text)
	switch words[0] {
	case ".version":
		p.mod.version = strings.Join(words[1:], " ")
		return nil
	case ".target":
		p.mod.target = strings.TrimSuffix(words[1], ",")
		return nil
	case ".address_size":
		if words[1] != "64" {
			return fmt.Errorf("address size %s; only 64 is known", words[1])
		}
		return nil
	case ".file", ".loc", ".pragma":
		return nil
	case ".section":
		return p.skipBlock()
	}
	v, err := parseVariable(st.text)
	if err != nil {
		return err
	}
	p.place(v)
	p.mod.vars = append(p.mod.vars, v)
	return nil
}

// place gives a .global or .const variable its address in the module's own window.
func (p *parser) place(v *variable) {
	if v.space != "global" && v.space != "const" {
		return
	}
	p.globalBytes = roundUp(p.globalBytes, v.align)
	v.addr = globalWindow + uint64(p.globalBytes)
	p.globalBytes += v.size
	p.globals = append(p.globals, make([]byte, p.globalBytes-len(p.globals))...)
	copy(p.globals[p.globalBytes-v.size:], v.image)
}

func (p *parser) skipBlock() error {
	for depth := 0; p.next < len(p.src); p.next++ {
		switch p.src[p.next].text {
		case "{":
			depth++
		case "}":
			if depth--; depth == 0 {
				p.next++
				return nil
			}
		}
	}
	return fmt.Errorf("the block does not end")
}

// entry reads a kernel: header, limits, body.
func (p *parser) entry(st statement) error {
	f := &Function{mod: p.mod}
	b := newBuilder(f, p.mod.vars)
	name, list, _ := strings.Cut(st.text[strings.Index(st.text, ".entry ")+len(".entry "):], "(")
	f.name = strings.TrimSpace(name)
	for _, param := range splitList(strings.TrimSuffix(strings.TrimSpace(list), ")")) {
		v, err := parseVariable(param)
		if err != nil {
			return fmt.Errorf("ptx: kernel %s, parameter %q: %w", f.name, param, err)
		}
		f.argBytes = roundUp(f.argBytes, v.align)
		v.addr = uint64(f.argBytes)
		f.argBytes += v.size
		b.root.vars[v.name] = v
	}
	for ; p.next < len(p.src) && p.src[p.next].text != "{"; p.next++ {
		if err := f.limit(p.src[p.next].text); err != nil {
			return fmt.Errorf("ptx: kernel %s, line %d: %w", f.name, p.src[p.next].line, err)
		}
	}
	body := p.body()
	f.globals = p.globals
	if err := b.build(body); err != nil {
		return fmt.Errorf("ptx: kernel %s: %w", f.name, err)
	}
	p.mod.functions = append(p.mod.functions, f)
	return nil
}

// body takes the statements between the outermost braces.
func (p *parser) body() []statement {
	start := p.next + 1
	for depth := 0; p.next < len(p.src); p.next++ {
		switch p.src[p.next].text {
		case "{":
			depth++
		case "}":
			if depth--; depth == 0 {
				p.next++
				return p.src[start : p.next-1]
			}
		}
	}
	return p.src[min(start, len(p.src)):]
}

// limit reads a performance directive between header and body.
func (f *Function) limit(text string) error {
	words := strings.Fields(strings.ReplaceAll(text, ",", " "))
	switch words[0] {
	case ".maxntid", ".reqntid":
		f.maxThreads = 1
		for _, w := range words[1:] {
			n, err := strconv.Atoi(w)
			if err != nil {
				return fmt.Errorf("%q: %w", text, err)
			}
			f.maxThreads *= n
		}
		return nil
	case ".minnctapersm", ".maxnctapersm", ".maxnreg", ".pragma":
		return nil
	}
	return fmt.Errorf("unknown directive %q", words[0])
}

// parseVariable reads `.shared .align 8 .b8 name[64]`, `.param .u64 .ptr .align 1 name` and their like.
func parseVariable(text string) (*variable, error) {
	decl, init, hasInit := strings.Cut(text, "=")
	v := &variable{align: 1}
	var t scalar
	words := strings.Fields(decl)
	for i := 0; i < len(words); i++ {
		switch w := words[i]; w {
		case ".extern", ".visible", ".weak", ".common":
			v.dynamic = v.dynamic || w == ".extern"
		case ".shared", ".global", ".const", ".param", ".local":
			if v.space == "" || v.space == "param" {
				v.space = w[1:]
			}
			if v.space != w[1:] {
				v.space = "param"
			}
		case ".ptr":
			if i+1 < len(words) && (words[i+1] == ".global" || words[i+1] == ".shared" || words[i+1] == ".const") {
				i++
			}
			if i+2 < len(words) && words[i+1] == ".align" { // alignment of what it points to
				i += 2
			}
		case ".align":
			i++
			n, err := strconv.Atoi(words[i])
			if err != nil || n <= 0 || n&(n-1) != 0 {
				return nil, fmt.Errorf("alignment %q is not a power of two", words[i])
			}
			v.align = n
		default:
			if w[0] == '.' {
				var ok bool
				if t, ok = scalars[w[1:]]; !ok {
					return nil, fmt.Errorf("unknown directive or type %q", w)
				}
				continue
			}
			v.name = strings.Join(words[i:], "")
			i = len(words)
		}
	}
	if v.name == "" || v.space == "" || t.bits == 0 {
		return nil, fmt.Errorf("not a declaration the interpreter knows")
	}
	return v, v.measure(t, init, hasInit)
}

// measure sets size, alignment and initial image from the type, the dimensions and the initialiser.
func (v *variable) measure(t scalar, init string, hasInit bool) error {
	unit := t.width() / 8
	v.align = max(v.align, unit)
	count := 1
	name, dims, isArray := strings.Cut(v.name, "[")
	v.name = name
	for isArray {
		var dim string
		dim, dims, _ = strings.Cut(dims, "]")
		n := 0
		if dim != "" {
			var err error
			if n, err = strconv.Atoi(dim); err != nil {
				return fmt.Errorf("dimension %q: %w", dim, err)
			}
		}
		count *= n
		dims, isArray = strings.CutPrefix(dims, "[")
	}
	v.size = count * unit
	if !hasInit {
		return nil
	}
	v.image = make([]byte, 0, v.size)
	for _, s := range strings.FieldsFunc(init, func(r rune) bool { return strings.ContainsRune("{}, ", r) }) {
		x, err := literal(s)
		if err != nil {
			return err
		}
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], x)
		v.image = append(v.image, word[:unit]...)
	}
	return nil
}

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// literal reads an integer or a 0f/0d floating-point bit pattern.
func literal(s string) (uint64, error) {
	if hex, ok := strings.CutPrefix(s, "0f"); ok && len(hex) == 8 {
		return strconv.ParseUint(hex, 16, 32)
	}
	if hex, ok := strings.CutPrefix(s, "0d"); ok && len(hex) == 16 {
		return strconv.ParseUint(hex, 16, 64)
	}
	s = strings.TrimSuffix(s, "U")
	if v, err := strconv.ParseInt(s, 0, 64); err == nil {
		return uint64(v), nil
	}
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a literal", s)
	}
	return v, nil
}
