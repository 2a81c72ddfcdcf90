package config

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// The lines of the README between which the table stands.
const (
	tableBegin = "<!-- keys: go generate ./trainer/config -->\n"
	tableEnd   = "<!-- end of keys -->"
)

// InsertTable puts the table between its marks in a text; one without marks stays as it is.
func InsertTable(text []byte) []byte {
	before, rest, begins := bytes.Cut(text, []byte(tableBegin))
	_, after, ends := bytes.Cut(rest, []byte(tableEnd))
	if !begins || !ends {
		return text
	}
	return slices.Concat(before, []byte(tableBegin), []byte(MarkdownTable()), []byte(tableEnd), after)
}

// MarkdownTable lists every key with default and meaning, for the README.
func MarkdownTable() string {
	var b strings.Builder
	b.WriteString("| key | default | meaning |\n| --- | --- | --- |\n")
	table(&b, reflect.ValueOf(Default()), "")
	return b.String()
}

func table(b *strings.Builder, v reflect.Value, prefix string) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		meaning := strings.ReplaceAll(descriptions()[v.Type().Name()+"."+field.Name], "|", `\|`)
		if enum := limitsOf(field).enum; len(enum) > 0 {
			meaning += " One of `" + strings.Join(enum, "`, `") + "`."
		}
		fmt.Fprintf(b, "| `%s%s` | %s | %s |\n", prefix, keyOf(field), defaultText(v.Field(i), field), meaning)
		switch {
		case field.Name == "Datasets":
			table(b, reflect.ValueOf(defaultDataset()), prefix+keyOf(field)+"[].")
		case field.Type.Kind() == reflect.Pointer && field.Type.Elem().Kind() == reflect.Struct:
			table(b, reflect.New(field.Type.Elem()).Elem(), prefix+keyOf(field)+".")
		}
	}
}

func defaultText(v reflect.Value, field reflect.StructField) string {
	if v.IsZero() && (optional(field) || v.Kind() == reflect.Slice || v.Kind() == reflect.String) {
		return ""
	}
	return fmt.Sprintf("`%v`", v.Interface())
}
