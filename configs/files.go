package configs

import (
	"fmt"
	"os"
	"path/filepath"
)

// named is a file that the configuration names.
type named struct {
	path   string // of the key
	file   *string
	secret bool
}

// files are those that have to be there.
func (c *Config) files() []named {
	all := []named{{"inbound.certificate", &c.Inbound.Certificate, false}, {"inbound.key", &c.Inbound.Key, true},
		{"inbound.acme.ca", &c.Inbound.ACME.CA, false}, {"auth.arc.key", &c.Auth.ARC.Key, true}}
	v, p := &c.Admin.Vantage, &c.Health.Public
	all = append(all, named{"admin.vantage.certificate", &v.Certificate, false}, named{"admin.vantage.key", &v.Key, true}, named{"admin.vantage.token_file", &v.TokenFile, true},
		named{"health.public.ca", &p.CA, false}, named{"health.public.graph.secret", &p.Graph.Secret, true},
		named{"health.public.graph.certificate", &p.Graph.Certificate, false}, named{"health.public.graph.key", &p.Graph.Key, true})
	for i := range c.Health.HTTPS {
		all = append(all, named{fmt.Sprintf("health.https[%d].ca", i), &c.Health.HTTPS[i].CA, false})
	}
	for i := range c.Health.Vantages {
		one, path := &c.Health.Vantages[i], fmt.Sprintf("health.vantages[%d].", i)
		all = append(all, named{path + "ca", &one.CA, false}, named{path + "token_file", &one.TokenFile, true})
	}
	for i := range c.Domains {
		r, path := &c.Domains[i].Recipients, fmt.Sprintf("domains[%d].recipients.", i)
		all = append(all, named{path + "file", &r.File, false}, named{path + "directory.secret", &r.Directory.Secret, true},
			named{path + "directory.certificate", &r.Directory.Certificate, false}, named{path + "directory.key", &r.Directory.Key, true})
	}
	for i := range c.Upstreams {
		t, path := &c.Upstreams[i].TLS, fmt.Sprintf("upstreams[%d].tls.", i)
		all = append(all, named{path + "ca", &t.CA, false}, named{path + "certificate", &t.Certificate, false}, named{path + "key", &t.Key, true})
	}
	return all
}

// absolute makes relative paths start from a folder.
func (c *Config) absolute(folder string) {
	for _, f := range append(c.files(), named{file: &c.Data}, named{file: &c.Socket}) {
		if *f.file != "" && !filepath.IsAbs(*f.file) {
			*f.file = filepath.Join(folder, *f.file)
		}
	}
}

// checkFiles looks at files, but into none.
func (c *Config) checkFiles(say report) {
	for _, f := range c.files() {
		if *f.file == "" {
			continue
		}
		switch at, err := os.Stat(*f.file); {
		case err != nil:
			say(f.path, fmt.Sprintf("%s: %v", *f.file, reason(err)), "Write the path of a file that is there, and that this user may look at")
		case !at.Mode().IsRegular():
			say(f.path, *f.file+" is not a file", "Write the path of a file")
		case f.secret && at.Mode().Perm()&0o077 != 0:
			say(f.path, fmt.Sprintf("others may read or write the key in %s (mode %04o)", *f.file, at.Mode().Perm()), "chmod 600 "+*f.file)
		}
	}
}
