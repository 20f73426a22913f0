package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// schema is the part of JSON Schema (draft 2020-12) that this filter knows. Every other keyword is refused: a rule that is not
// understood must not be taken for one that holds.
type schema struct {
	Type       stringList         `json:"type"`
	Enum       []any              `json:"enum"`
	Const      *any               `json:"const"`
	Properties map[string]*schema `json:"properties"`
	Required   []string           `json:"required"`
	Additional *additional        `json:"additionalProperties"`
	Items      *schema            `json:"items"`
	MinItems   *int               `json:"minItems"`
	MaxItems   *int               `json:"maxItems"`
	Minimum    *json.Number       `json:"minimum"`
	Maximum    *json.Number       `json:"maximum"`
	MinLength  *int               `json:"minLength"`
	MaxLength  *int               `json:"maxLength"`
	Pattern    string             `json:"pattern"`
	// For people.
	Title       string `json:"title"`
	Description string `json:"description"`
	Dialect     string `json:"$schema"`
	pattern     *regexp.Regexp
}

type stringList []string

func (l *stringList) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*l = stringList{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(l))
}

// additional is true, false or a schema.
type additional struct {
	forbidden bool
	schema    *schema
}

func (a *additional) UnmarshalJSON(text []byte) error {
	var allowed bool
	if json.Unmarshal(text, &allowed) == nil {
		a.forbidden = !allowed
		return nil
	}
	return strictly(text, &a.schema)
}

func strictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

func compileSchema(text []byte) (*schema, error) {
	compiled := &schema{}
	if err := strictly(text, compiled); err != nil {
		return nil, fmt.Errorf(": %w", err)
	}
	return compiled, compiled.prepare("")
}

func (s *schema) prepare(at string) error {
	if s == nil {
		return nil
	}
	if s.Pattern != "" {
		compiled, err := regexp.Compile(s.Pattern)
		if err != nil {
			return fmt.Errorf("%s/pattern: %w", at, err)
		}
		s.pattern = compiled
	}
	for name, each := range s.Properties {
		if err := each.prepare(at + "/properties/" + name); err != nil {
			return err
		}
	}
	if s.Additional != nil {
		if err := s.Additional.schema.prepare(at + "/additionalProperties"); err != nil {
			return err
		}
	}
	return s.Items.prepare(at + "/items")
}

// validate appends what does not fit, each with its JSON pointer.
func (s *schema) validate(value any, at string, problems []string) []string {
	if s == nil {
		return problems
	}
	say := func(format string, args ...any) {
		place := at
		if place == "" {
			place = "/"
		}
		problems = append(problems, place+": "+fmt.Sprintf(format, args...))
	}
	if len(s.Type) > 0 && !slices.ContainsFunc(s.Type, func(kind string) bool { return isType(value, kind) }) {
		say("must be %s", strings.Join(s.Type, " or "))
		return problems
	}
	if s.Enum != nil && !slices.ContainsFunc(s.Enum, func(each any) bool { return reflect.DeepEqual(each, value) }) {
		say("must be one of the listed values")
	}
	if s.Const != nil && !reflect.DeepEqual(*s.Const, value) {
		say("must be the one value")
	}
	switch value := value.(type) {
	case string:
		s.checkText(value, say)
	case json.Number:
		if s.Minimum != nil && compare(value, *s.Minimum) < 0 {
			say("must be %s or more", *s.Minimum)
		}
		if s.Maximum != nil && compare(value, *s.Maximum) > 0 {
			say("must be %s or less", *s.Maximum)
		}
	case []any:
		if s.MinItems != nil && len(value) < *s.MinItems {
			say("must have %d items or more", *s.MinItems)
		}
		if s.MaxItems != nil && len(value) > *s.MaxItems {
			say("must have %d items or fewer", *s.MaxItems)
		}
		for i, each := range value {
			problems = s.Items.validate(each, at+"/"+strconv.Itoa(i), problems)
		}
	case map[string]any:
		problems = s.validateObject(value, at, problems)
	}
	return problems
}

func (s *schema) checkText(value string, say func(string, ...any)) {
	length := utf8.RuneCountInString(value)
	if s.MinLength != nil && length < *s.MinLength {
		say("must have %d characters or more", *s.MinLength)
	}
	if s.MaxLength != nil && length > *s.MaxLength {
		say("must have %d characters or fewer", *s.MaxLength)
	}
	if s.pattern != nil && !s.pattern.MatchString(value) {
		say("must match %s", s.Pattern)
	}
}

func (s *schema) validateObject(value map[string]any, at string, problems []string) []string {
	for _, name := range s.Required {
		if _, there := value[name]; !there {
			problems = append(problems, at+"/"+escape(name)+": is missing")
		}
	}
	for name, each := range value {
		place := at + "/" + escape(name)
		if own, known := s.Properties[name]; known {
			problems = own.validate(each, place, problems)
		} else if s.Additional != nil && s.Additional.forbidden {
			problems = append(problems, place+": is not allowed")
		} else if s.Additional != nil {
			problems = s.Additional.schema.validate(each, place, problems)
		}
	}
	return problems
}

func isType(value any, kind string) bool {
	switch value := value.(type) {
	case nil:
		return kind == "null"
	case bool:
		return kind == "boolean"
	case string:
		return kind == "string"
	case []any:
		return kind == "array"
	case map[string]any:
		return kind == "object"
	case json.Number:
		return kind == "number" || kind == "integer" && isWhole(value)
	}
	return false
}

// Exponents this large are no data; writing such a number out would take all memory.
const exponentMax = 400

// read answers nil for a number that is too large to be one.
func read(number json.Number) *big.Rat {
	text := strings.ToLower(string(number))
	if _, exponent, found := strings.Cut(text, "e"); found {
		if size, err := strconv.Atoi(exponent); err != nil || size > exponentMax || size < -exponentMax {
			return nil
		}
	}
	rat, _ := new(big.Rat).SetString(text)
	return rat
}

func isWhole(number json.Number) bool {
	rat := read(number)
	return rat != nil && rat.IsInt()
}

// compare counts a number that cannot be read as larger than all others, and smaller when it is negative.
func compare(a, b json.Number) int {
	one, other := read(a), read(b)
	if one == nil || other == nil {
		if strings.HasPrefix(string(a), "-") {
			return -1
		}
		return 1
	}
	return one.Cmp(other)
}

func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
