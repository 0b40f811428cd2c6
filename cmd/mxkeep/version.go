package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/mxkeep/mxkeep/queue/bolt"
	"github.com/mxkeep/mxkeep/relay/admin"
	"github.com/spf13/cobra"
)

// versionDocument says what this binary is.
type versionDocument struct {
	Schema   string   `json:"schema"`
	Version  string   `json:"version"`
	Revision *string  `json:"revision"` // null if the build does not know
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	Licence  string   `json:"licence"`
	Reads    int      `json:"reads_format_from"` // the oldest format of files that can be read
	Writes   int      `json:"writes_format"`
	Schemas  []string `json:"schemas"` // of the JSON documents
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "What this binary is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			reads, writes := bolt.Formats()
			v := versionDocument{Schema: "mxkeep.version/1", Version: version, Revision: revision(), Go: runtime.Version(),
				Platform: runtime.GOOS + "/" + runtime.GOARCH, Licence: "MIT",
				Reads: reads, Writes: writes, Schemas: append(admin.Schemas(), schemaMigration)}
			return a.document(v, func(w io.Writer) { showVersion(w, v) })
		},
	}
}

func showVersion(w io.Writer, v versionDocument) {
	build := v.Version
	if v.Revision != nil {
		build += " (" + *v.Revision + ")"
	}
	fmt.Fprintf(w, "mxkeep %s  %s  %s  licence %s  JSON schema 1  files: reads formats %d to %d, writes %d\n", build, v.Go, v.Platform, v.Licence, v.Reads, v.Writes, v.Writes)
}

// revision is the commit that the binary was built from; nil if it is not known.
func revision() *string {
	built, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, setting := range built.Settings {
		if setting.Key == "vcs.revision" {
			return &setting.Value
		}
	}
	return nil
}
