package config

import (
	_ "embed" // keys.go is its own documentation
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"sync"

	"github.com/invopop/jsonschema"
)

//go:generate go run ./generate

//go:embed keys.go
var keysSource string

// descriptions holds the comment above every field of keys.go, by Type.Field.
var descriptions = sync.OnceValue(func() map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "keys.go", keysSource, parser.ParseComments)
	if err != nil {
		panic("config: keys.go, which compiled, does not parse: " + err.Error())
	}
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			found[spec.Name.Name+"."+field.Names[0].Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
		}
		return false
	})
	return found
})

// Schema returns the JSON schema of a config file, for editors: every key with description, type, range and default.
func Schema() ([]byte, error) {
	r := jsonschema.Reflector{
		FieldNameTag:               "yaml",
		Anonymous:                  true,
		DoNotReference:             true,
		ExpandedStruct:             true,
		RequiredFromJSONSchemaTags: true,
		LookupComment:              func(t reflect.Type, field string) string { return descriptions()[t.Name()+"."+field] },
		Mapper:                     mapUnits,
	}
	schema := r.Reflect(Config{})
	schema.Title = "ringgrad training run"
	setDefaults(schema, reflect.ValueOf(Default()))
	for _, list := range []string{"datasets", "test_datasets"} {
		if property, ok := schema.Properties.Get(list); ok {
			property.Items.Required = []string{"path"}
			setDefaults(property.Items, reflect.ValueOf(defaultDataset()))
		}
	}
	data, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("config: schema: %w", err)
	}
	return append(data, '\n'), nil
}

// mapUnits describes the types that are written with a unit.
func mapUnits(t reflect.Type) *jsonschema.Schema {
	switch t {
	case durationType:
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`}
	case bytesType:
		return &jsonschema.Schema{Type: "string", Pattern: bytesPattern}
	}
	return nil
}

// setDefaults puts the values of v into a schema's properties; zero values are left out, as they mean "not given" or say nothing.
func setDefaults(schema *jsonschema.Schema, v reflect.Value) {
	for i := range v.NumField() {
		property, ok := schema.Properties.Get(keyOf(v.Type().Field(i)))
		if !ok || v.Field(i).Kind() == reflect.Slice || v.Field(i).Kind() == reflect.Map || v.Field(i).Kind() == reflect.Pointer || v.Field(i).IsZero() && optional(v.Type().Field(i)) {
			continue
		}
		property.Default = v.Field(i).Interface()
		if d, ok := property.Default.(Duration); ok {
			property.Default = d.String()
		}
	}
}
