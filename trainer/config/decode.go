package config

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// decoder fills a Config from a document and collects what is wrong. It is written against the tree and not against the YAML
// package's own decoding, because that stops at less, speaks of Go types and does not tell the place of a key.
type decoder struct {
	doc      *document
	at       map[string]Problem // where each key's value stands
	problems []Problem
}

func (d *decoder) config(c *Config) { d.structure(d.doc.root, reflect.ValueOf(c).Elem(), "") }

// locate gives a problem of Validate the place of its key, or of the nearest key above that is written somewhere.
func (d *decoder) locate(p Problem) Problem {
	for key := p.Key; key != ""; {
		if at, ok := d.at[key]; ok {
			at.Key, at.Message = p.Key, p.Message
			return at
		}
		cut := strings.LastIndexByte(key, '.')
		if cut < 0 {
			break
		}
		key = key[:cut]
	}
	p.File = d.doc.name
	return p
}

func (d *decoder) report(n *yaml.Node, key, format string, args ...any) {
	p := d.doc.place(n)
	p.Key, p.Message = key, fmt.Sprintf(format, args...)
	d.problems = append(d.problems, p)
}

// structure decodes a mapping into a struct whose fields carry yaml tags.
func (d *decoder) structure(n *yaml.Node, into reflect.Value, prefix string) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, strings.TrimSuffix(prefix, "."), "a mapping of keys")
		return
	}
	fields := fieldsByKey(into.Type())
	d.entries(n, prefix, func(name, value *yaml.Node) {
		index, ok := fields[name.Value]
		if !ok {
			d.report(name, prefix+name.Value, "unknown key %q%s", prefix+name.Value, suggestion(name.Value, prefix, into.Type()))
			return
		}
		d.at[prefix+name.Value] = d.doc.place(value)
		if !isNull(value) {
			d.value(value, into.Field(index), prefix+name.Value)
		}
	})
}

// entries walks a mapping, refusing what makes keys ambiguous.
func (d *decoder) entries(n *yaml.Node, prefix string, visit func(name, value *yaml.Node)) {
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		switch first := seen[name.Value]; {
		case name.Kind != yaml.ScalarNode || name.ShortTag() == "!!merge":
			d.report(name, "", "a key must be plain text here; merge keys and aliases are not supported: write the values out")
		case first != nil:
			d.report(name, prefix+name.Value, "key %q is given twice, first in line %d; remove one", prefix+name.Value, first.Line)
		default:
			seen[name.Value] = name
			visit(name, value)
		}
	}
}

var (
	durationType = reflect.TypeFor[Duration]()
	bytesType    = reflect.TypeFor[Bytes]()
)

func (d *decoder) value(n *yaml.Node, into reflect.Value, key string) {
	if n.Kind == yaml.AliasNode {
		d.report(n, key, "%s is an alias; aliases are not supported: write the value out", key)
		return
	}
	switch {
	case into.Type() == durationType:
		d.duration(n, into, key)
	case into.Type() == bytesType:
		d.bytes(n, into, key)
	case into.Kind() == reflect.String:
		if d.scalar(n, key, "text", "!!str") {
			into.SetString(n.Value)
		}
	case into.Kind() == reflect.Bool:
		var b bool
		if n.Kind != yaml.ScalarNode || n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 || n.Decode(&b) != nil {
			d.wrong(n, key, "true or false")
			return
		}
		into.SetBool(b)
	case into.CanInt():
		if i, ok := d.integer(n, key); ok {
			into.SetInt(i)
		}
	case into.CanFloat():
		if f, ok := d.number(n, key); ok {
			into.SetFloat(f)
		}
	default:
		d.composite(n, into, key)
	}
}

func (d *decoder) composite(n *yaml.Node, into reflect.Value, key string) {
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		if into.Type().Elem().Kind() != reflect.Struct {
			d.value(n, into.Elem(), key)
			return
		}
		d.structure(n, into.Elem(), key+".")
	case reflect.Slice:
		d.datasets(n, into, key)
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			d.wrong(n, key, "a mapping of the keys of a config.json")
			return
		}
		into.Set(reflect.ValueOf(d.mapping(n, key)))
	default:
		panic("config: a key has a type that is not decoded: " + into.Type().String())
	}
}

func (d *decoder) datasets(n *yaml.Node, into reflect.Value, key string) {
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, key, `a list, such as [{path: "data/*.jsonl", field: text}]`)
		return
	}
	list := make([]Dataset, len(n.Content))
	for i, entry := range n.Content {
		list[i] = defaultDataset()
		at := key + "." + strconv.Itoa(i)
		d.at[at] = d.doc.place(entry)
		d.structure(entry, reflect.ValueOf(&list[i]).Elem(), at+".")
	}
	into.Set(reflect.ValueOf(list))
}

// wrong reports a value of another type than the key wants.
func (d *decoder) wrong(n *yaml.Node, key, want string) {
	d.report(n, key, "%s must be %s, not %s", key, want, describe(n))
}

func (d *decoder) scalar(n *yaml.Node, key, want, tag string) bool {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == tag {
		return true
	}
	if _, argument := d.doc.sets[n]; argument && n.Kind == yaml.ScalarNode {
		return true // the shell has eaten the quotes of --set output_dir="2026"
	}
	if tag == "!!str" && n.Kind == yaml.ScalarNode {
		want += " (put it in quotes)"
	}
	d.wrong(n, key, want)
	return false
}

func (d *decoder) duration(n *yaml.Node, into reflect.Value, key string) {
	if n.Kind == yaml.ScalarNode {
		if span, err := time.ParseDuration(n.Value); err == nil {
			into.SetInt(int64(span))
			return
		}
	}
	d.wrong(n, key, "a time span with its unit, such as 90s or 10m")
}

func (d *decoder) bytes(n *yaml.Node, into reflect.Value, key string) {
	if n.Kind == yaml.ScalarNode {
		if amount, err := ParseBytes(n.Value); err == nil {
			into.SetInt(int64(amount))
			return
		}
	}
	d.wrong(n, key, "an amount of memory with its unit, such as 900MB or 1.5GiB")
}

var octal = regexp.MustCompile(`^[-+]?0[0-9_]+$`)

// integer takes whole numbers, also in the form 1e6.
func (d *decoder) integer(n *yaml.Node, key string) (int64, bool) {
	f, ok := d.number(n, key)
	if !ok {
		return 0, false
	}
	if f != math.Trunc(f) {
		d.wrong(n, key, "a whole number")
		return 0, false
	}
	if octal.MatchString(n.Value) {
		d.wrong(n, key, "a number without leading zeros, which older YAML reads as octal")
		return 0, false
	}
	var i int64
	if n.ShortTag() == "!!int" && n.Decode(&i) == nil {
		return i, true
	}
	if math.Abs(f) >= 1<<53 {
		d.report(n, key, "%s is %s, which is too large", key, n.Value)
		return 0, false
	}
	return int64(f), true
}

func (d *decoder) number(n *yaml.Node, key string) (float64, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float" {
		want := "a number"
		if _, err := strconv.ParseFloat(n.Value, 64); err == nil && n.Kind == yaml.ScalarNode {
			want = "a number without quotes"
		}
		d.wrong(n, key, want)
		return 0, false
	}
	var f float64
	if err := n.Decode(&f); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		d.wrong(n, key, "a finite number")
		return 0, false
	}
	return f, true
}

// mapping decodes the free part of a config, model, into what encoding/json can write.
func (d *decoder) mapping(n *yaml.Node, key string) map[string]any {
	m := map[string]any{}
	d.entries(n, key+".", func(name, value *yaml.Node) {
		at := key + "." + name.Value
		d.at[at] = d.doc.place(value)
		m[name.Value] = d.free(value, at)
	})
	return m
}

func (d *decoder) free(n *yaml.Node, key string) any {
	switch n.Kind {
	case yaml.MappingNode:
		return d.mapping(n, key)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, entry := range n.Content {
			list[i] = d.free(entry, key+"."+strconv.Itoa(i))
		}
		return list
	case yaml.AliasNode:
		d.report(n, key, "%s is an alias; aliases are not supported: write the value out", key)
		return nil
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		_ = n.Decode(&b) // the tag says that it is one
		return b
	case "!!int":
		if i, ok := d.integer(n, key); ok {
			return int(i)
		}
		return nil
	case "!!float":
		f, _ := d.number(n, key)
		return f
	}
	return n.Value
}

// fieldsByKey maps the keys of a struct to its fields.
func fieldsByKey(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		fields[keyOf(t.Field(i))] = i
	}
	return fields
}

// keyOf is the name a field has in YAML.
func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}
