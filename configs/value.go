package configs

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// field is one key of the file and what it sets.
type field struct {
	key   string
	read  func(d *decoder, n *yaml.Node, path string) // sets the value, or reports why not
	check func(say report, path string)               // the value, wherever it came from
}

// verdict is what a rule thinks of a value; the zero verdict is that it is good.
type verdict struct{ message, next string }

// form is how a kind of value is written.
type form[T any] struct {
	what  string // "a time"
	like  string // an example, for the next step
	parse func(n *yaml.Node) (T, bool)
}

// scalar makes a key with one value.
func scalar[T any](key string, v *T, f form[T], rule func(T) verdict) field {
	return field{key,
		func(d *decoder, n *yaml.Node, path string) {
			if value, ok := f.of(d, n, path); ok {
				*v = value
			}
		},
		func(say report, path string) { rule(*v).say(say, path) }}
}

// list makes a key with a list of values; a lone value is a list of one.
func list[T any](key string, v *[]T, f form[T], rule func(T) verdict) field {
	return field{key,
		func(d *decoder, n *yaml.Node, path string) {
			if n.Kind != yaml.SequenceNode {
				if value, ok := f.of(d, n, path); ok {
					*v = []T{value}
				}
				return
			}
			*v = nil
			for i, item := range n.Content {
				value, ok := f.of(d, item, index(d, item, path, i))
				if !ok {
					d.bad[path] = true
				}
				*v = append(*v, value)
			}
		},
		func(say report, path string) {
			for i, value := range *v {
				rule(value).say(say, fmt.Sprintf("%s[%d]", path, i))
			}
		}}
}

// section makes a key with keys below it.
func section(key string, fields ...field) field {
	return field{key,
		func(d *decoder, n *yaml.Node, path string) { d.mapping(n, path, fields) },
		func(say report, path string) { checkAll(fields, say, path) }}
}

// sectionOr is a section that may also be one value: that of a key below it.
func sectionOr(key string, short field, fields ...field) field {
	f := section(key, fields...)
	whole := f.read
	f.read = func(d *decoder, n *yaml.Node, path string) {
		if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
			short.read(d, n, path)
			return
		}
		whole(d, n, path)
	}
	return f
}

func checkAll(fields []field, say report, path string) {
	for _, f := range fields {
		if f.check != nil {
			f.check(say, join(path, f.key))
		}
	}
}

func (v verdict) say(say report, path string) {
	if v.message != "" {
		say(path, v.message, v.next)
	}
}

// of reads a value, or reports that there is none.
func (f form[T]) of(d *decoder, n *yaml.Node, path string) (value T, ok bool) {
	if n.Kind == yaml.ScalarNode {
		if value, ok = f.parse(n); ok {
			return value, true
		}
	}
	d.fail(path, n, "want "+f.what+", not "+printed(n), "Write it like "+f.like)
	return value, false
}

func text(what, like string) form[string] {
	return form[string]{what, like, func(n *yaml.Node) (string, bool) { return n.Value, n.Tag == "!!str" }}
}

// name is text of which the DNS makes no difference between cases.
func name(what, like string) form[string] {
	return form[string]{what, like, func(n *yaml.Node) (string, bool) {
		return strings.TrimSuffix(strings.ToLower(n.Value), "."), n.Tag == "!!str"
	}}
}

func file(key string, v *string) field {
	return scalar(key, v, text("the path of a file", "/etc/mxkeep/FILE"), func(s string) verdict {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return verdict{fmt.Sprintf("%q is not a path", s), "Take the control characters out"}
		}
		return verdict{}
	})
}

func choice(key string, v *string, words ...string) field {
	return scalar(key, v, text("one of "+strings.Join(words, ", "), words[0]), oneOf(words))
}

// choiceOrNone is a choice that need not be made.
func choiceOrNone(key string, v *string, words ...string) field {
	return scalar(key, v, text("one of "+strings.Join(words, ", "), words[0]), optional(oneOf(words)))
}

func oneOf(words []string) func(string) verdict {
	return func(s string) verdict {
		if slices.Contains(words, s) {
			return verdict{}
		}
		return verdict{fmt.Sprintf("%q is not one of %s", s, strings.Join(words, ", ")), "Take " + meant(s, words, "one of them")}
	}
}

func duration(key string, v *time.Duration, least, most time.Duration) field {
	f := form[time.Duration]{"a time with its unit", "90s, 5m or 5d", func(n *yaml.Node) (time.Duration, bool) { return parseDuration(n.Value) }}
	return scalar(key, v, f, between(least, most, showDuration))
}

func size(key string, v *int64, least, most int64) field {
	f := form[int64]{"a size with its unit", "64KiB or 150MiB", func(n *yaml.Node) (int64, bool) { return parseSize(n.Value) }}
	return scalar(key, v, f, between(least, most, showSize))
}

func number(key string, v *int, least, most int) field { return whole(key, v, least, most) }

// amount is a number that may be large.
func amount(key string, v *int64, least, most int64) field { return whole(key, v, least, most) }

func whole[T int | int64](key string, v *T, least, most T) field {
	show := func(n T) string { return strconv.FormatInt(int64(n), 10) }
	f := form[T]{"a whole number", show(max(least, 1)), func(n *yaml.Node) (T, bool) {
		i, err := strconv.ParseInt(n.Value, 10, 64)
		return T(i), err == nil && int64(T(i)) == i && n.Tag == "!!int"
	}}
	return scalar(key, v, f, between(least, most, show))
}

func yesNo(key string, v *bool) field {
	f := form[bool]{"true or false", "true", func(n *yaml.Node) (bool, bool) { return n.Value == "true", n.Tag == "!!bool" }}
	return scalar(key, v, f, func(bool) verdict { return verdict{} })
}

func fraction(key string, v *float64, least, most float64) field {
	show := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	f := form[float64]{"a number", "0.5 or 2", func(n *yaml.Node) (float64, bool) {
		x, err := strconv.ParseFloat(n.Value, 64)
		return x, err == nil && (n.Tag == "!!float" || n.Tag == "!!int")
	}}
	return scalar(key, v, f, between(least, most, show))
}

func address(key string, v *netip.Addr) field {
	f := form[netip.Addr]{"an IP address", "192.0.2.7", func(n *yaml.Node) (netip.Addr, bool) {
		if n.Value == "" {
			return netip.Addr{}, n.Tag == "!!str"
		}
		a, err := netip.ParseAddr(n.Value)
		return a.Unmap(), err == nil
	}}
	return scalar(key, v, f, func(netip.Addr) verdict { return verdict{} })
}

func networks(key string, v *[]netip.Prefix) field {
	f := form[netip.Prefix]{"a network", "10.1.0.0/16", func(n *yaml.Node) (netip.Prefix, bool) {
		p, err := netip.ParsePrefix(n.Value)
		return p, err == nil
	}}
	return list(key, v, f, func(p netip.Prefix) verdict {
		if p != p.Masked() {
			return verdict{p.String() + " is an address within a network", "Write " + p.Masked().String()}
		}
		return verdict{}
	})
}

// between allows values from least to most. A number that is none (NaN) is not between them.
func between[T cmp.Ordered](least, most T, show func(T) string) func(T) verdict {
	return func(v T) verdict {
		if v >= least && v <= most {
			return verdict{}
		}
		return verdict{show(v) + " is out of range", fmt.Sprintf("Take %s to %s", show(least), show(most))}
	}
}

// printed says what stands there instead.
func printed(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys below it"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "the alias *" + n.Value
	case n.Tag == "!!null":
		return "nothing"
	}
	return fmt.Sprintf("%.80q", n.Value)
}
