package ptx

import (
	"fmt"
	"strconv"
	"strings"
)

// scope is a block of PTX: its registers, variables and labels hide those of the blocks around it.
type scope struct {
	parent *scope
	regs   map[string]register
	vars   map[string]*variable
	labels map[string]int
	tables map[string][]string // .branchtargets of brx.idx
}

// register is a slot of one of the three banks: 1 bit (predicates), 16 and 32 bits, 64 bits.
type register struct {
	bits int
	slot int32
}

func newScope(parent *scope) *scope {
	return &scope{parent: parent, regs: map[string]register{}, vars: map[string]*variable{}, labels: map[string]int{}, tables: map[string][]string{}}
}

func (s *scope) register(name string) (register, bool) {
	for ; s != nil; s = s.parent {
		if r, ok := s.regs[name]; ok {
			return r, true
		}
	}
	return register{}, false
}

func (s *scope) variable(name string) (*variable, bool) {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func (s *scope) table(name string) ([]string, bool) {
	for ; s != nil; s = s.parent {
		if t, ok := s.tables[name]; ok {
			return t, true
		}
	}
	return nil, false
}

func (s *scope) label(name string) (int, bool) {
	for ; s != nil; s = s.parent {
		if at, ok := s.labels[name]; ok {
			return at, true
		}
	}
	return 0, false
}

// fixup is a branch whose labels may come later.
type fixup struct {
	at     int
	labels []string
	scope  *scope
}

// builder turns the statements of one kernel into code.
type builder struct {
	f            *Function
	module       []*variable
	root         *scope
	scope        *scope
	fixups       []fixup
	const32Slots map[uint32]int32
	const64Slots map[uint64]int32
	specials     map[string]int32
	counts       [3]int // registers declared: predicates, 32-bit bank, 64-bit bank
}

func newBuilder(f *Function, module []*variable) *builder {
	root := newScope(nil)
	return &builder{f: f, module: module, root: root, scope: root,
		const32Slots: map[uint32]int32{}, const64Slots: map[uint64]int32{}, specials: map[string]int32{}}
}

// build declares everything first, so that constants get their slots after the registers and the dynamic shared array
// its place after the static ones. It decodes twice: the first pass shows which registers may share a slot.
func (b *builder) build(body []statement) error {
	scopes, err := b.declare(body)
	if err != nil {
		return err
	}
	b.f.npred, b.f.n32, b.f.n64 = b.counts[0], b.counts[1], b.counts[2]
	b.layoutShared(body)
	if err := b.decode(body, scopes); err != nil {
		return err
	}
	b.shareSlots(append(scopes, b.root))
	return b.decode(body, scopes)
}

// shareSlots renames the registers by their lives and forgets the code.
func (b *builder) shareSlots(scopes []*scope) {
	f := b.f
	all := lives(f.code, f.n32, f.n64)
	slots32, n32 := share(all[:f.n32])
	slots64, n64 := share(all[f.n32:])
	for _, s := range scopes {
		for name, r := range s.regs {
			switch r.bits {
			case 16, 32:
				r.slot = slots32[r.slot]
			case 64:
				r.slot = slots64[r.slot]
			}
			s.regs[name] = r
		}
	}
	f.npred, f.n32, f.n64 = b.counts[0], n32, n64
	f.code, f.const32, f.const64, f.special32, f.special64 = nil, nil, nil, nil, nil
	b.fixups = nil
	clear(b.const32Slots)
	clear(b.const64Slots)
	clear(b.specials)
}

// decode turns the statements into code.
func (b *builder) decode(body []statement, scopes []*scope) error {
	b.scope = b.root
	opened := 0
	for _, st := range body {
		switch {
		case st.text == "{":
			b.scope = scopes[opened]
			opened++
		case st.text == "}":
			b.scope = b.scope.parent
		case strings.HasSuffix(st.text, ":"):
			b.scope.labels[strings.TrimSuffix(st.text, ":")] = len(b.f.code)
		case st.text[0] == '.':
		default:
			if err := b.instruction(st); err != nil {
				return fmt.Errorf("line %d %q: %w", st.line, st.text, err)
			}
		}
	}
	return b.link()
}

// link resolves labels and puts a guard behind the last instruction.
func (b *builder) link() error {
	b.f.code = append(b.f.code, inst{kind: kindEnd, guard: -1, text: "end of the kernel"})
	for _, fix := range b.fixups {
		in := &b.f.code[fix.at]
		for _, label := range fix.labels {
			at, ok := fix.scope.label(label)
			if !ok {
				return fmt.Errorf("line %d %q: no label %q", in.line, in.text, label)
			}
			in.target = at
			in.table = append(in.table, at)
		}
	}
	return nil
}

// declare walks the directives and returns the scopes in the order of their opening braces.
func (b *builder) declare(body []statement) ([]*scope, error) {
	var scopes []*scope
	for i, st := range body {
		var err error
		switch word, _, _ := strings.Cut(st.text, " "); {
		case st.text == "{":
			b.scope = newScope(b.scope)
			scopes = append(scopes, b.scope)
		case st.text == "}":
			b.scope = b.scope.parent
		case st.text[0] != '.' || word == ".loc" || word == ".pragma":
		case word == ".branchtargets" && i > 0:
			b.scope.tables[strings.TrimSuffix(body[i-1].text, ":")] = splitList(strings.TrimPrefix(st.text, word))
		case word == ".reg":
			err = b.declareRegisters(st.text)
		default:
			err = b.declareVariable(st.text)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d %q: %w", st.line, st.text, err)
		}
	}
	return scopes, nil
}

// declareRegisters reads `.reg .b32 %r<10>, x`.
func (b *builder) declareRegisters(text string) error {
	words := strings.SplitN(text, " ", 3)
	if len(words) < 3 {
		return fmt.Errorf("not a register declaration")
	}
	t, ok := scalars[strings.TrimPrefix(words[1], ".")]
	if !ok {
		return fmt.Errorf("unknown register type %q", words[1])
	}
	bank := map[int]int{1: 0, 16: 1, 32: 1, 64: 2}
	which, ok := bank[t.width()]
	if !ok {
		return fmt.Errorf("registers of %d bits are not modelled", t.width())
	}
	for _, name := range splitList(words[2]) {
		prefix, count, many := strings.Cut(name, "<")
		n := 1
		if many {
			var err error
			if n, err = strconv.Atoi(strings.TrimSuffix(count, ">")); err != nil {
				return err
			}
		}
		for i := range n {
			if many {
				name = prefix + strconv.Itoa(i)
			}
			b.scope.regs[name] = register{t.width(), int32(b.counts[which])}
			b.counts[which]++
		}
	}
	return nil
}

func (b *builder) declareVariable(text string) error {
	v, err := parseVariable(text)
	if err != nil {
		return err
	}
	switch v.space {
	case "local":
		b.f.localBytes = roundUp(b.f.localBytes, v.align)
		v.addr = uint64(b.f.localBytes)
		b.f.localBytes += v.size
	case "shared":
		b.placeShared(v)
	default:
		return fmt.Errorf("a .%s variable inside a kernel", v.space)
	}
	b.scope.vars[v.name] = v
	return nil
}

func (b *builder) placeShared(v *variable) {
	b.f.static = roundUp(b.f.static, v.align)
	v.addr = sharedBase + uint64(b.f.static)
	b.f.static += v.size
}

// layoutShared gives the module-level shared variables that the kernel names their place, the dynamic array last.
func (b *builder) layoutShared(body []statement) {
	var named strings.Builder
	for _, st := range body {
		named.WriteString(st.text)
		named.WriteByte('\n')
	}
	var dynamic []*variable
	align := 1
	for _, v := range b.module {
		if v.space == "shared" && !strings.Contains(named.String(), v.name) {
			continue
		}
		own := *v // the module's variable may have another place in another kernel
		b.root.vars[v.name] = &own
		switch {
		case v.space == "shared" && v.size == 0:
			dynamic = append(dynamic, &own)
			align = max(align, v.align)
		case v.space == "shared":
			b.placeShared(&own)
		}
	}
	b.f.dynamic = roundUp(b.f.static, align)
	for _, v := range dynamic {
		v.addr = sharedBase + uint64(b.f.dynamic)
	}
}

// instruction decodes one instruction with its guard.
func (b *builder) instruction(st statement) error {
	d := &decoder{b: b, in: inst{guard: -1, line: st.line, text: st.text}}
	text := st.text
	if guard, ok := strings.CutPrefix(text, "@"); ok {
		name, rest, _ := strings.Cut(guard, " ")
		if plain, ok := strings.CutPrefix(name, "!"); ok {
			name, d.in.inverted = plain, true
		}
		d.in.guard = d.predicate(name)
		text = strings.TrimSpace(rest)
	}
	op := text
	if i := strings.IndexAny(text, " [{"); i >= 0 {
		op, d.args = text[:i], splitList(text[i:])
	}
	d.op = strings.Split(op, ".")
	d.mods = d.op[1:]
	decode, ok := decoders[d.op[0]]
	if !ok {
		return fmt.Errorf("unknown opcode %q", d.op[0])
	}
	decode(d)
	if d.err == nil && len(d.mods) > 0 {
		d.fail("unknown modifier .%s", d.mods[0])
	}
	if d.err == nil && d.in.exec == nil && d.in.kind == kindPlain {
		d.fail("this form of %s is not modelled", d.op[0])
	}
	if d.err != nil {
		return d.err
	}
	b.f.code = append(b.f.code, d.in)
	return nil
}
