package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// document is the tree of a file with --set arguments grafted in. It remembers which nodes came from which argument.
type document struct {
	name string
	root *yaml.Node // a mapping
	sets map[*yaml.Node]string
}

func emptyDocument() *document {
	return &document{root: &yaml.Node{Kind: yaml.MappingNode}, sets: map[*yaml.Node]string{}}
}

// readDocument parses a file that must hold one mapping.
func readDocument(name string, data []byte) (*document, error) {
	if line, column, found := invalidUTF8(data); found {
		return nil, failure([]Problem{{File: name, Line: line, Column: column, Message: "the file is not UTF-8 here; save it as UTF-8"}})
	}
	var docs []yaml.Node
	if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
		return nil, syntaxError(name, err)
	}
	if len(docs) == 0 || len(docs[0].Content) == 0 || len(docs) == 1 && isNull(docs[0].Content[0]) {
		return nil, failure([]Problem{{File: name, Message: "the file is empty; it needs at least base_model (or model) and datasets"}})
	}
	if len(docs) > 1 {
		return nil, failure([]Problem{{
			File: name, Line: docs[1].Line, Column: docs[1].Column,
			Message: fmt.Sprintf("a second document begins here (%d in all); a config is one document: remove the line ---, or keep one file a run", len(docs)),
		}})
	}
	root := docs[0].Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, failure([]Problem{{File: name, Line: root.Line, Column: root.Column, Message: fmt.Sprintf("the file holds %s; write lines of the form key: value", describe(root))}})
	}
	return &document{name: name, root: root, sets: map[*yaml.Node]string{}}, nil
}

// syntaxError puts the parser's finding in our form.
func syntaxError(name string, err error) error {
	p := Problem{File: name, Message: "not valid YAML"}
	if detail, ok := errors.AsType[*yaml.LoadError](err); ok {
		p.Line, p.Column = detail.Mark.Line, detail.Mark.Column
		p.Message += ": " + detail.Message
	}
	if strings.Contains(p.Message, "cannot start any token") {
		p.Message += "; indent with spaces, not tabs, and quote text that begins with a special character"
	}
	return failure([]Problem{p})
}

// place is an empty problem that knows where n stands.
func (d *document) place(n *yaml.Node) Problem {
	if set, ok := d.sets[n]; ok {
		return Problem{Set: set}
	}
	return Problem{File: d.name, Line: n.Line, Column: n.Column}
}

// apply grafts the --set arguments in, in order.
func (d *document) apply(sets []string) []Problem {
	var problems []Problem
	for _, set := range sets {
		key, value, ok := strings.Cut(set, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			problems = append(problems, Problem{Set: set, Message: "write it as key=value, for example --set max_steps=3"})
			continue
		}
		if err := d.set(strings.Split(key, "."), parseValue(value), set); err != nil {
			problems = append(problems, Problem{Key: key, Set: set, Message: err.Error()})
		}
	}
	return problems
}

// parseValue reads the right side of a --set argument as YAML. What is not YAML, such as the glob *.txt, is text.
func parseValue(text string) *yaml.Node {
	var docs []yaml.Node
	err := yaml.Load([]byte(text), &docs, yaml.WithAllDocuments())
	if err != nil || len(docs) > 1 {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	}
	if len(docs) == 0 || len(docs[0].Content) == 0 {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	return docs[0].Content[0]
}

// set puts value at the path below the root, making mappings and list entries on the way.
func (d *document) set(path []string, value *yaml.Node, argument string) error {
	d.mark(value, argument)
	at := &d.root
	for i, part := range path {
		next, err := d.child(at, part, argument)
		if err != nil {
			return fmt.Errorf("%s %w", strings.Join(path[:i], "."), err)
		}
		at = next
	}
	*at = value
	return nil
}

// child returns where the part below *at hangs, adding it when it is missing.
func (d *document) child(at **yaml.Node, part, argument string) (**yaml.Node, error) {
	index, notNumber := strconv.Atoi(part)
	if isNull(*at) {
		fresh := &yaml.Node{Kind: yaml.MappingNode}
		if notNumber == nil {
			fresh.Kind = yaml.SequenceNode
		}
		d.sets[fresh] = argument
		*at = fresh
	}
	n := *at
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == part {
				d.sets[n.Content[i]] = argument
				return &n.Content[i+1], nil
			}
		}
		n.Content = append(n.Content, d.node(yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: part}, argument), d.node(nullNode(), argument))
	case yaml.SequenceNode:
		if notNumber != nil || index < 0 || index > len(n.Content) {
			return nil, fmt.Errorf("is a list with %d entries; use a number from 0 to %d in place of %q", len(n.Content), len(n.Content), part)
		}
		if index < len(n.Content) {
			return &n.Content[index], nil
		}
		n.Content = append(n.Content, d.node(nullNode(), argument))
	default:
		return nil, fmt.Errorf("is %s, which has nothing called %q below it", describe(n), part)
	}
	return &n.Content[len(n.Content)-1], nil
}

func nullNode() yaml.Node { return yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"} }

func (d *document) node(n yaml.Node, argument string) *yaml.Node {
	d.sets[&n] = argument
	return &n
}

// mark notes that n and all below it came from an argument.
func (d *document) mark(n *yaml.Node, argument string) {
	d.sets[n] = argument
	for _, c := range n.Content {
		d.mark(c, argument)
	}
}

func isNull(n *yaml.Node) bool {
	return n == nil || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// describe names a node's value for an error.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!null":
		return "empty"
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return n.Value
	case "!!str":
		return fmt.Sprintf("the text %q", shorten(n.Value))
	case "!!timestamp":
		return "the date " + n.Value
	}
	return fmt.Sprintf("a value of type %s", shorten(n.Tag))
}

// shorten keeps a value quotable in one line.
func shorten(s string) string {
	const limit = 60
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	return string(runes[:limit]) + "…"
}
