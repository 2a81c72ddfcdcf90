package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// shape STREAM FILE: the stream is exactly one JSON document, of the form that the file describes: "string", "number", "bool" or
// "any" in the place of a value; [form] for a list of at least one; {"key": form}, where "key?" may be missing and "*" is any key.
func shape(ts *testscript.TestScript, _ bool, args []string) {
	var got, form any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &got))
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &form))
	if problems := mismatch("", form, got); len(problems) > 0 {
		ts.Fatalf("%s differs from %s:\n%s", args[0], args[1], strings.Join(problems, "\n"))
	}
}

func mismatch(at string, form, got any) []string {
	ok := true
	switch form := form.(type) {
	case map[string]any:
		if object, isObject := got.(map[string]any); isObject {
			return mismatchedKeys(at, form, object)
		}
		ok = false
	case []any:
		list, isList := got.([]any)
		if !isList || len(list) == 0 {
			return []string{fmt.Sprintf("%s: %v is not a list of at least one", at, got)}
		}
		var problems []string
		for i, item := range list {
			problems = append(problems, mismatch(fmt.Sprintf("%s[%d]", at, i), form[0], item)...)
		}
		return problems
	case string:
		ok = hasType(form, got)
	}
	if !ok {
		return []string{fmt.Sprintf("%s: %v, want %v", at, got, form)}
	}
	return nil
}

func hasType(name string, value any) (ok bool) {
	switch name {
	case "string":
		_, ok = value.(string)
	case "number":
		_, ok = value.(float64)
	case "bool":
		_, ok = value.(bool)
	default:
		ok = name == "any"
	}
	return ok
}

func mismatchedKeys(at string, form, object map[string]any) (problems []string) {
	known := map[string]bool{}
	for key, want := range form {
		name, optional := strings.CutSuffix(key, "?")
		known[name] = true
		value, found := object[name]
		switch {
		case found:
			problems = append(problems, mismatch(at+"."+name, want, value)...)
		case !optional && name != "*":
			problems = append(problems, fmt.Sprintf("%s.%s is missing", at, name))
		}
	}
	for key, value := range object {
		if anything, free := form["*"]; free && !known[key] {
			problems = append(problems, mismatch(at+"."+key, anything, value)...)
		} else if !known[key] {
			problems = append(problems, fmt.Sprintf("%s.%s is not in the contract", at, key))
		}
	}
	slices.Sort(problems)
	return problems
}
