package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// limits is what a field's jsonschema tag says about its values.
type limits struct {
	enum                 []string
	least, most          float64 // ±Inf: none
	leastOpen, mostOpen  bool    // the bound itself is not allowed
	leastText, mostTexts string
}

func limitsOf(f reflect.StructField) limits {
	l := limits{least: math.Inf(-1), most: math.Inf(1)}
	for part := range strings.SplitSeq(f.Tag.Get("jsonschema"), ",") {
		name, value, _ := strings.Cut(part, "=")
		number, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "enum":
			l.enum = append(l.enum, value)
		case "minimum", "exclusiveMinimum":
			l.least, l.leastOpen, l.leastText = number, name != "minimum", value
		case "maximum", "exclusiveMaximum":
			l.most, l.mostOpen, l.mostTexts = number, name != "maximum", value
		}
	}
	return l
}

// numbers describes the range: "at least 0 and below 1".
func (l limits) numbers() string {
	var parts []string
	if l.leastText != "" {
		parts = append(parts, map[bool]string{false: "at least ", true: "more than "}[l.leastOpen]+l.leastText)
	}
	if l.mostTexts != "" {
		parts = append(parts, map[bool]string{false: "at most ", true: "below "}[l.mostOpen]+l.mostTexts)
	}
	return strings.Join(parts, " and ")
}

func (l limits) allow(x float64) bool {
	return (x > l.least || x == l.least && !l.leastOpen) && (x < l.most || x == l.most && !l.mostOpen)
}

// rangeProblems compares every value with its field's limits.
func rangeProblems(v reflect.Value, prefix string) []Problem {
	var problems []Problem
	for i := range v.NumField() {
		field := v.Type().Field(i)
		problems = append(problems, fieldProblems(v.Field(i), field, prefix+keyOf(field))...)
	}
	return problems
}

func fieldProblems(v reflect.Value, field reflect.StructField, key string) []Problem {
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil() && v.Type().Elem().Kind() == reflect.Struct:
		return rangeProblems(v.Elem(), key+".")
	case v.Kind() == reflect.Slice:
		var problems []Problem
		for i := range v.Len() {
			problems = append(problems, rangeProblems(v.Index(i), key+"."+strconv.Itoa(i)+".")...)
		}
		return problems
	case v.Kind() == reflect.String:
		return enumProblems(v.String(), field, key)
	case v.Kind() == reflect.Pointer && !v.IsNil():
		return fieldProblems(v.Elem(), field, key)
	case v.CanInt() && v.Type() == durationType:
		if v.Int() < 0 {
			return []Problem{{Key: key, Message: fmt.Sprintf("%s is %v; it must be 0s or more", key, v.Interface())}}
		}
	case v.CanInt():
		return numberProblems(float64(v.Int()), field, key)
	case v.CanFloat():
		return numberProblems(v.Float(), field, key)
	}
	return nil
}

func numberProblems(x float64, field reflect.StructField, key string) []Problem {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return []Problem{{Key: key, Message: fmt.Sprintf("%s is %v; it must be a finite number", key, x)}}
	}
	l := limitsOf(field)
	if l.allow(x) || x == 0 && optional(field) {
		return nil
	}
	return []Problem{{Key: key, Message: fmt.Sprintf("%s is %s; it must be %s", key, strconv.FormatFloat(x, 'g', -1, 64), l.numbers())}}
}

// optional fields may be left at zero, which stands for "not given".
func optional(f reflect.StructField) bool { return strings.HasSuffix(f.Tag.Get("yaml"), ",omitempty") }

func enumProblems(value string, field reflect.StructField, key string) []Problem {
	enum := limitsOf(field).enum
	if len(enum) == 0 || slices.Contains(enum, value) || value == "" && optional(field) {
		return nil
	}
	message := fmt.Sprintf("%s is %q; it must be one of %s", key, shorten(value), strings.Join(enum, ", "))
	if ours, ok := foreignValues[keyOf(field)][value]; ok {
		message += "; here it is called " + ours
	} else if near := nearest(value, enum); near != "" {
		message += fmt.Sprintf("; did you mean %q?", near)
	}
	return []Problem{{Key: key, Message: message}}
}
