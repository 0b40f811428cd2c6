package configs

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// defaults are what the elements of lists begin with.
type defaults struct {
	domain   Domain
	upstream Upstream
}

// place is where something stands in the file.
type place struct{ line, column int }

// decoder reads a tree of YAML into a Config and remembers where all of it stood.
type decoder struct {
	file     string
	problems Problems
	places   map[string]place
	bad      map[string]bool   // paths that something was said about
	singular map[string]string // "domains[0]" to "domain", if the file has it so
}

// parse reads a file into c, whose values are those of keys that it leaves out.
// Then look may say more about it.
func parse(file string, content []byte, c Config, fresh defaults, look func(*Config, report)) (Config, error) {
	d := &decoder{file: file, places: map[string]place{"": {1, 1}}, bad: map[string]bool{}, singular: map[string]string{}}
	var document yaml.Node
	if err := yaml.Load(content, &document); err != nil {
		d.syntax(err)
		if len(d.problems) > 0 {
			return c, d.problems.sorted()
		}
	}
	for _, root := range document.Content { // none, if the file is empty
		d.mapping(root, "", c.fields(fresh))
	}
	c.complete()
	c.check(fresh, d.report)
	look(&c, d.report)
	return c, d.problems.sorted()
}

// syntax takes note of what makes the file no YAML. An empty file is a mapping without keys.
func (d *decoder) syntax(err error) {
	where, message, next := place{}, "this is not YAML: "+err.Error(), "Look at quotes, brackets and the spaces before keys, here and on the line before"
	var exact *yaml.LoadError
	switch {
	case strings.HasSuffix(err.Error(), "no documents in stream"):
		return
	case strings.HasSuffix(err.Error(), "expected single document, found multiple"):
		message, next = "there is more than one document in the file", "Take out the line ---, or what follows it"
	case errors.As(err, &exact):
		where = place{exact.Mark.Line, exact.Mark.Column}
		message = "this is not YAML: " + exact.Message
		if exact.ContextMsg != "" {
			message = fmt.Sprintf("this is not YAML: %s that begins on line %d: %s", exact.ContextMsg, exact.ContextMark.Line, exact.Message)
		}
	}
	d.add("", where, message, next)
}

// mapping reads keys. Nothing at all is a mapping without keys.
func (d *decoder) mapping(n *yaml.Node, path string, fields []field) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fail(path, n, "want keys, not "+printed(n), "Write them below it, like "+fields[0].key+": ...")
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		if key.Kind != yaml.ScalarNode {
			d.add(path, place{key.Line, key.Column}, "want a key, not "+printed(key), "Write KEY: VALUE")
			continue
		}
		f, known := find(fields, key.Value)
		switch {
		case !known:
			d.unknown(path, key, fields)
			continue
		case lines[key.Value] > 0:
			d.add(at, place{key.Line, key.Column}, fmt.Sprintf("the key is on line %d already", lines[key.Value]), "Keep one of the two")
			continue
		}
		lines[key.Value] = key.Line
		d.places[at] = place{key.Line, key.Column}
		if value.Kind == yaml.ScalarNode && value.Value != "" {
			d.places[at] = place{value.Line, value.Column}
		}
		f.read(d, value, at)
	}
}

// elements makes the two keys of a list of mappings: one for a single element,
// one for several. An element that is only a scalar is the value of its key short.
func elements[T any](one, several, short string, v *[]T, fresh T, fields func(*T) []field) (field, field) {
	first := several + "[0]"
	single := field{key: one, read: func(d *decoder, n *yaml.Node, path string) {
		if d.either(path, several) {
			return
		}
		d.singular[first] = one
		*v = []T{fresh}
		d.places[first] = d.places[path]
		d.element(n, first, short, fields(&(*v)[0]))
	}}
	list := mappings(several, short, "; or write "+one+": for a single one", v, fresh, fields)
	whole := list.read
	list.read = func(d *decoder, n *yaml.Node, path string) {
		if !d.either(path, one) {
			whole(d, n, path)
		}
	}
	return single, list
}

// mappings makes a key with a list of mappings. or ends what is said if it is no list.
func mappings[T any](key, short, or string, v *[]T, fresh T, fields func(*T) []field) field {
	return field{key: key,
		read: func(d *decoder, n *yaml.Node, path string) {
			if n.Kind != yaml.SequenceNode {
				d.fail(path, n, "want a list, not "+printed(n), "Write each below it, after a hyphen"+or)
				return
			}
			*v = make([]T, len(n.Content))
			for i, item := range n.Content {
				(*v)[i] = fresh
				d.element(item, index(d, item, path, i), short, fields(&(*v)[i]))
			}
		},
		check: func(say report, path string) {
			for i := range *v {
				checkAll(fields(&(*v)[i]), say, fmt.Sprintf("%s[%d]", path, i))
			}
		}}
}

// either reports whether the file has the other key as well.
func (d *decoder) either(path, other string) bool {
	if _, both := d.places[other]; !both {
		return false
	}
	d.report(path, "there is "+other+" as well", "Keep one of the two; "+other+" and "+path+" set the same")
	return true
}

func (d *decoder) element(n *yaml.Node, path, short string, fields []field) {
	if f, _ := find(fields, short); n.Kind == yaml.ScalarNode {
		f.read(d, n, path)
		return
	}
	d.mapping(n, path, fields)
}

// unknown says so, and what was probably meant.
func (d *decoder) unknown(path string, key *yaml.Node, fields []field) {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	next := "There are " + strings.Join(keys, ", ")
	if word := meant(key.Value, keys, ""); word != "" {
		next = "Did you mean " + word + "?"
	}
	d.fail(join(path, key.Value), key, "there is no such key", next)
}

// fail reports what is wrong with a node.
func (d *decoder) fail(path string, n *yaml.Node, message, next string) {
	d.bad[path] = true
	d.add(path, place{n.Line, n.Column}, message, next)
}

// report reports what is wrong with a value, unless it could not even be read:
// that was reported already. A value that is not in the file has the place of
// what it would be in.
func (d *decoder) report(path, message, next string) {
	where, found := d.places[path]
	for at := path; !d.bad[at]; at = at[:max(0, strings.LastIndexAny(at, ".["))] {
		if !found {
			where, found = d.places[at]
		}
		if at == "" {
			d.add(path, where, message, next)
			return
		}
	}
}

func (d *decoder) add(path string, at place, message, next string) {
	for canonical, written := range d.singular {
		if rest, ok := strings.CutPrefix(path, canonical); ok {
			path = written + rest
		}
	}
	d.problems = append(d.problems, Problem{d.file, at.line, at.column, path, message, next})
}

// index is the path of an element of a list, which is put on the map.
func index(d *decoder, n *yaml.Node, path string, i int) string {
	at := fmt.Sprintf("%s[%d]", path, i)
	d.places[at] = place{n.Line, n.Column}
	return at
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func find(fields []field, key string) (field, bool) {
	for _, f := range fields {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}
