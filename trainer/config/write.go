package config

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// YAML writes the resolved config, every key with its value, in the order of the README. Parse reads it back to an equal Config.
func (c Config) YAML() []byte {
	text, err := yaml.Dump(tree(reflect.ValueOf(c)))
	if err != nil {
		panic("config: a tree of plain nodes was refused: " + err.Error())
	}
	return text
}

// MarshalJSON writes the keys as YAML has them.
func (c Config) MarshalJSON() ([]byte, error) {
	var m map[string]any
	if err := yaml.Load(c.YAML(), &m); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return json.Marshal(m)
}

// tree makes YAML nodes. Floats keep a point or an exponent, so that they stay floats below the free key model.
func tree(v reflect.Value) *yaml.Node {
	if v.Type() == durationType {
		return scalar("!!str", v.Interface().(Duration).String())
	}
	if v.Type() == bytesType {
		return scalar("!!str", v.Interface().(Bytes).String())
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return scalar("!!null", "null")
		}
		return tree(v.Elem())
	case reflect.Struct:
		return structTree(v)
	case reflect.Map:
		return mapTree(v)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, tree(v.Index(i)))
		}
		return n
	case reflect.Bool:
		return scalar("!!bool", strconv.FormatBool(v.Bool()))
	case reflect.Float64:
		return scalar("!!float", floatText(v.Float()))
	case reflect.String:
		return scalar("!!str", v.String())
	}
	return scalar("!!int", fmt.Sprint(v.Interface()))
}

func structTree(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if v.Field(i).IsZero() && optional(field) {
			continue
		}
		n.Content = append(n.Content, scalar("!!str", keyOf(field)), tree(v.Field(i)))
	}
	return n
}

func mapTree(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		n.Content = append(n.Content, scalar("!!str", key.String()), tree(v.MapIndex(key)))
	}
	return n
}

func scalar(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

func floatText(x float64) string {
	switch {
	case math.IsNaN(x):
		return ".nan"
	case math.IsInf(x, 0):
		return strings.Replace(strconv.FormatFloat(x, 'g', -1, 64), "Inf", ".inf", 1)
	}
	text := strconv.FormatFloat(x, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}
