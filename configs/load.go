package configs

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile is more than any configuration needs; what is longer is something else.
const maxFile = 1 << 20

//go:embed example.yaml
var example []byte

// Example is a configuration file in which every key is explained and commented
// out with its default.
func Example() []byte { return append([]byte(nil), example...) }

// Parse reads a configuration file that is in memory; name is used in
// problems. The error is Problems. It looks at no other file.
func Parse(name string, text []byte) (Config, error) {
	return parse(name, text, Default(), defaults{DefaultDomain(), DefaultUpstream()}, func(*Config, report) {})
}

// Load reads a configuration file and looks whether the files it names are
// there, and those with keys closed to others. Relative paths start from the
// folder of the file. The error is Problems, also if the file cannot be read.
func Load(path string) (Config, error) {
	text, err := read(path)
	if err != nil {
		return Config{}, Problems{{File: path, Message: fmt.Sprintf("the file cannot be read: %v", reason(err)), Next: "Begin with: mxkeep config example"}}
	}
	return parse(path, text, Default(), defaults{DefaultDomain(), DefaultUpstream()}, func(c *Config, say report) {
		c.absolute(filepath.Dir(path))
		c.checkFiles(say)
	})
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("it is larger than %s", showSize(maxFile))
	}
	return text, err
}

// reason is an error without the path that stands beside it.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
